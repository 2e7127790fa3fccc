"""Stop a job between two steps."""

import threading


class Stopped(Exception):  # not an error: somebody asked for it
    """The work was told to stop."""


def check(stop: threading.Event | None) -> None:
    """Raise `Stopped` if somebody asked for it."""
    if stop is not None and stop.is_set():
        raise Stopped
