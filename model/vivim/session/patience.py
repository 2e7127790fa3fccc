"""Work on a disk that may stop answering, as a network share does: waited for only so long.

Each piece of work runs in a thread of its own. When it takes too long the caller gets an error instead of a frozen
window; the work itself is never given up, and goes through as a whole once the disk answers again.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

SECONDS = 10.0


class Patience:
    """Runs one piece of work at a time; its callers take turns by a lock of their own."""

    def __init__(self) -> None:
        self._overdue: Future | None = None

    def __call__(
        self, work: Callable[[], T], late: Callable[[T], None] | None = None, eventually: bool = False
    ) -> T:
        """Do `work` and return what it returns.

        Parameters
        ----------
        late : callable, optional
            Gets the result, in the thread of the work, if that came too late for the caller.
        eventually : bool
            If an earlier piece is still under way, do this one once that is through.

        Raises
        ------
        TimeoutError
            If it takes longer than `SECONDS`, or an earlier piece that did is still under way.
        """
        if self._overdue is not None and not self._overdue.done():
            if eventually:
                self._overdue.add_done_callback(lambda done: work())
            raise TimeoutError(errno.ETIMEDOUT, "it still does not answer")
        result: Future[T] = Future()
        threading.Thread(target=_run, args=(work, result), name="vivim-disk", daemon=True).start()
        if wait([result], SECONDS).not_done:
            self._overdue = result
            if late is not None:
                result.add_done_callback(lambda done: None if done.exception() else late(done.result()))
            raise TimeoutError(errno.ETIMEDOUT, f"it has not answered for {SECONDS:.0f} s")
        return result.result()


def _run(work: Callable[[], T], result: Future[T]) -> None:
    try:
        value = work()
    except BaseException as error:  # handed to whoever waits
        result.set_exception(error)
    else:
        result.set_result(value)
