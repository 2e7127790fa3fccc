"""Threads for long work, large imports and closing, so that the window never waits.

Inference stays on one thread, because GPU plans and contexts belong to the thread that made them. Results come back to
the window's thread as Qt signals.
"""

import atexit
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from weakref import WeakSet

from qtpy.QtCore import QEventLoop, QObject, QThread, Signal
from qtpy.QtWidgets import QApplication
from vivim.errors import VivimError
from vivim.session import Session
from vivim.video import Video

_log = logging.getLogger(__name__)
THREAD = "vivim-closing"
AT_ONCE = 0.02
"""Seconds the window waits: a session mostly closes sooner, and can be opened elsewhere at once."""
PATIENCE = 10.0
"""Seconds a job that was cancelled may take to stop."""
T = TypeVar("T")
_LOADING = threading.Lock()


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


def close_in_background(
    opened: Sequence[Session | Video], jobs: Sequence[Job], failed: Callable[[Exception], object]
) -> None:
    """Close sessions and videos, in order, once `jobs`, which were cancelled, have stopped.

    The thread is no daemon: a program that ends waits for it, so that what was acknowledged is on disk. It calls
    `failed` with a `VivimError` if one cannot be closed properly.
    """

    def work() -> None:
        for job in jobs:
            if not job.over.wait(PATIENCE):
                _log.warning("A job has not stopped %g s after it was cancelled.", PATIENCE)
        for one in opened:
            try:
                one.close()
            except VivimError as error:
                _log.error("%s", error)
                failed(error)

    thread = threading.Thread(target=work, name=THREAD)
    thread.start()
    thread.join(AT_ONCE)


def wait_for_closing() -> None:
    """Wait in a worker until sessions that are being closed are closed."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join()


class _InBackground(QThread):
    """Does one thing, and keeps its `result` or its `error`."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work, in the thread."""
        try:
            self.result = self._work()
        except BaseException as error:  # raised again where it was asked for
            self.error = error


def in_background(work: Callable[[], T]) -> T:
    """Work in a thread and return the result, while the window draws and keys and clicks wait.

    Where there is no window, or in another thread than the window's, the work is done there and then.
    """
    app = QApplication.instance()
    if app is None or QThread.currentThread() is not app.thread():
        return work()
    thread, loop = _InBackground(work), QEventLoop()
    thread.finished.connect(loop.quit)
    thread.start()
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    thread.wait()
    if thread.error is not None:
        raise thread.error
    return thread.result


def load_layers() -> None:
    """Import and compile what napari needs for the first image layer of a process, in any thread."""
    import numpy as np
    from napari.layers import Image

    Image(np.zeros((1, 1, 1), np.uint8), axis_labels=("time", "y", "x"), units=("pixel", "mm", "mm"))


def load_torch() -> None:
    """Import what all jobs need, in one thread at a time, because two at once could see modules half imported."""
    with _LOADING:
        import vivim.inference.proposals  # noqa: F401  # with it, PyTorch
