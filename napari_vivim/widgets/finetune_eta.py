"""How far a fine-tune is over all its rounds, and how long it will take. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable

from vivim.finetuning.events import Step


class Pace:
    """Counts the steps of all rounds and measures how long one takes, with the judging between them.

    Parameters
    ----------
    now : callable
        The time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began, self._done = now(), 0

    def taken(self, step: Step) -> tuple[int, int, float | None]:
        """Steps done and in all, and the seconds left; None after the first, from which nothing can be told.

        The last round may be shorter than the others: it is over a little sooner then.
        """
        self._done += 1
        rounds = max(1, step.rounds)
        to_come = step.total - step.step + (rounds - (step.fold or rounds)) * step.total
        if self._done == 1:
            self._began = self._now()  # what came before were no steps
            return 1, 1 + to_come, None
        each = (self._now() - self._began) / (self._done - 1)
        return self._done, self._done + to_come, each * to_come
