"""Work on a disk that may stop answering, as a network share does: waited for only so long.

Each piece of work runs in another thread, in the order they were asked for. When one takes too long the caller gets
an error instead of a frozen window. The work itself is never given up. It goes through as a whole once the disk
answers again, and so does work whose caller was interrupted by Ctrl-C.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 10.0


class WriteQueue:
    """Runs one piece of work at a time. Its callers take turns by a lock of their own."""

    def __init__(self) -> None:
        self._pending: deque[tuple[Callable[[], Any], Future]] = deque()
        self._running = threading.Lock()
        self._overdue: Future | None = None

    def __call__(
        self, work: Callable[[], T], late: Callable[[T], None] | None = None, eventually: bool = False
    ) -> T:
        """Do `work` and return what it returns.

        If that comes too late for the caller, `late` gets it, in the thread of the work. With `eventually`, the work
        waits for an earlier piece that is still under way. Raises a `TimeoutError` if it takes longer than `SECONDS`,
        or an earlier piece that did is still under way.
        """
        if self._stalled() and not eventually:
            raise TimeoutError(errno.ETIMEDOUT, "it still does not answer")
        result: Future[T] = Future()
        self._pending.append((work, result))  # from here on it will be done, whatever interrupts the caller
        if self._stalled():
            raise TimeoutError(errno.ETIMEDOUT, "it still does not answer")
        try:
            in_time = self._wait(result)
        except BaseException:  # Ctrl-C
            self.finish_interrupted()
            raise
        finally:
            if late is not None and not result.done():
                result.add_done_callback(lambda done: None if done.exception() else late(done.result()))
        if not in_time:
            raise TimeoutError(errno.ETIMEDOUT, f"it has not answered for {SECONDS:.0f} s")
        return result.result()

    def finish_interrupted(self) -> None:
        """Wait until all is done whose caller was interrupted, unless the disk does not answer.

        To be called before anything is read that the work may change.
        """
        for _, result in tuple(self._pending):
            if self._stalled():
                return
            self._wait(result)

    def _stalled(self) -> bool:
        return self._overdue is not None and not self._overdue.done()

    def _wait(self, result: Future) -> bool:
        """Whether a piece that is pending is done in time."""
        # Each has a thread of its own, also one whose caller was interrupted before he could start it. A thread that
        # waits for the next piece is woken later than a new one starts where the machine is busy.
        threading.Thread(target=self._run, name="vivim-disk", daemon=True).start()
        if wait([result], SECONDS).done:
            return True
        self._overdue = result
        return False

    def _run(self) -> None:
        """Do all that is pending, in order. A second thread waits, and mostly finds nothing left."""
        with self._running:
            while self._pending:
                work, result = self._pending[0]
                try:
                    value = work()
                except BaseException as error:  # handed to whoever waits
                    self._pending.popleft()
                    result.set_exception(error)
                else:
                    self._pending.popleft()
                    result.set_result(value)
