"""Estimate how long the rest of a job takes, and write durations for people."""

import time
from collections.abc import Callable


class TimeLeft:
    """Estimate the time left of a job from its mean speed since it began, by ``now()`` in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.restart()

    def restart(self, done: float = 0) -> None:
        """Measure the speed from now on, where `done` steps are done already."""
        self._began, self._first = self._now(), done

    def __call__(self, done: float, total: float) -> float | None:
        """Seconds until `total` steps are done. None before the first step that was measured."""
        worked = done - self._first
        return (self._now() - self._began) / worked * max(0.0, total - done) if worked > 0 else None


def clock(seconds: float) -> str:
    """``83.4`` as ``"1:23"``, from an hour on as ``"1:02:03"``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
