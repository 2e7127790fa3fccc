"""Errors as napari's notifications."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from vivim.errors import VivimError

from napari_vivim.qt.plain_text import plain


class Problem(Notification):
    """A notification of ours, which the docks show in full."""


def show_problem(error: Exception) -> None:
    """Tell the person: our own errors are written for them, others come with their kind."""
    text = str(error) if isinstance(error, VivimError) else f"{type(error).__name__}: {error}"
    notification_manager.dispatch(Problem(plain(text), NotificationSeverity.ERROR))


def guarded(action: Callable[[], object]) -> None:
    """Do it; what goes wrong in a way a person can mend is told, not raised."""
    try:
        action()
    except VivimError as error:
        show_problem(error)
