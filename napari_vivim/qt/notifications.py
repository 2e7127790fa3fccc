"""Errors as napari's notifications."""

from collections.abc import Callable

from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from vivim.errors import VivimError

from napari_vivim.qt.plain_text import plain


class ErrorNotice(Notification):
    """A notification of ours, which the docks show in full."""


def show_problem(error: Exception) -> None:
    """Show an error as a notification, with its class unless it is one of ours."""
    text = str(error) if isinstance(error, VivimError) else f"{type(error).__name__}: {error}"
    notification_manager.dispatch(ErrorNotice(plain(text), NotificationSeverity.ERROR))


def guarded(action: Callable[[], object]) -> None:
    """Run an action, and show errors that a person can cause instead of raising them."""
    try:
        action()
    except VivimError as error:
        show_problem(error)
