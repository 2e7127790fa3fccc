"""Estimate how long a job will still take."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Time that a job will still take, from the pace of its steps so far.

    Parameters
    ----------
    now : callable
        Returns the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[int, float] | None = None

    def after(self, done: int, total: int) -> float | None:
        """Seconds left after `done` of `total` steps; None at the first call, from which no pace can be told."""
        if self._first is None:
            self._first = done, self._now()
        first, began = self._first
        return (self._now() - began) / (done - first) * (total - done) if done > first else None
