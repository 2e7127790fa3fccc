"""A thread for the long work of one video, so that the window never waits.

Inference stays on one thread, because GPU plans and contexts belong to the thread that made them. Results come back to
the window's thread as Qt signals.
"""

import atexit
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QObject, Signal


class Job(QObject):
    """One piece of work, whose items are reported as they come.

    `start`, called in the worker's thread, returns a generator of the items. `stop` is set on cancelling: work that
    looks at it between two items stops sooner. Signals arrive in the thread the job was made in.
    """

    event = Signal(object)
    failed = Signal(object)
    ended = Signal(bool)
    """Always last. Says whether the work was finished, not cancelled or failed."""

    def __init__(self, start: Callable[[], Iterator[Any]], stop: threading.Event | None = None) -> None:
        super().__init__()
        self._start = start
        self._cancelled = stop or threading.Event()
        self.over = threading.Event()
        """Set once it has ended, or will never begin."""

    def cancel(self) -> None:
        """Stop as soon as the work looks, at the latest at its next item."""
        self._cancelled.set()

    def run(self) -> None:
        """Do the work, in the calling thread."""
        finished = False
        try:
            items = self._start()
            for item in items:
                if self._cancelled.is_set():
                    break
                self.event.emit(item)
                if self._cancelled.is_set():
                    break
            else:
                finished = not self._cancelled.is_set()
            if not finished:
                items.close()  # type: ignore[attr-defined]  # all long work is written as generators
        except Exception as error:  # shown to the person by whoever listens
            self.failed.emit(error)
        finally:
            self.over.set()
        self.ended.emit(finished)


class Worker:
    """A thread that runs jobs one after another."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._finishing = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()
        _workers.add(self)

    def submit(self, job: Job) -> Job:
        """Run `job` when those before it are done."""
        self._jobs.put(job)
        return job

    def close(self, finish: bool = False) -> None:
        """End the thread without waiting for it. Safe to call twice.

        With `finish` it first does what waits, instead of cancelling what runs and forgetting the rest.
        """
        self._finishing |= finish
        if not finish:
            if (current := self._current) is not None:
                current.cancel()
            while not self._jobs.empty():
                if (job := self._jobs.get()) is not None:
                    job.cancel()
                    job.over.set()
        self._jobs.put(None)

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._current = job
            job.run()
            self._current = None


EXIT_SECONDS = 20.0
"""At the end of the program the work of a thread is waited for so long."""
_workers: WeakSet[Worker] = WeakSet()


@atexit.register
def _end_all() -> None:
    """Let the threads end. One that is in PyTorch when the interpreter goes takes the program down with an abort."""
    workers = list(_workers)
    for worker in workers:
        if not worker._finishing:
            worker.close()
    for worker in workers:
        worker._thread.join(EXIT_SECONDS)
