"""Errors as napari's notifications."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.notifications import show_error
from vivim.errors import VivimError


def show_problem(error: Exception) -> None:
    """Tell the person: our own errors are written for them, others come with their kind."""
    show_error(str(error) if isinstance(error, VivimError) else f"{type(error).__name__}: {error}")


def guarded(action: Callable[[], object]) -> None:
    """Do it; what goes wrong in a way a person can mend is told, not raised."""
    try:
        action()
    except VivimError as error:
        show_problem(error)
