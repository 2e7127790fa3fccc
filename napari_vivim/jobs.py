"""Long work off the GUI thread: one persistent thread runs generators, one after the other, and hands over events.

Free of Qt: the owner of a job calls `Job.poll` from time to time, in whichever thread it likes. The thread persists
because a GPU's plans and contexts belong to a thread and are dear to make anew.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class News:
    """What a job has to tell since it was last asked."""

    events: list[Any]
    finished: bool
    stopped: bool
    error: Exception | None


class Job:
    """A generator that is waiting, at work or done in a `JobThread`."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make
        self._stop = threading.Event()
        self._done = threading.Event()
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._error: Exception | None = None

    def stop(self) -> None:
        """Ask it to stop at its next event; what is done stays done."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done; False if it is still at work after `seconds`."""
        return self._done.wait(seconds)

    def poll(self) -> News:
        """Events since the last call, and whether it is over."""
        finished = self._done.is_set()
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        return News(events, finished, self._stop.is_set(), self._error if finished else None)

    def work(self) -> None:
        """Run to the end, to a stop or to an error; called by the thread."""
        try:
            if not self._stop.is_set():
                self._drain(self._make())
        except Exception as error:  # handed over whole to whoever polls
            self._error = error
        finally:
            self._done.set()

    def _drain(self, events: Iterator[Any]) -> None:
        try:
            for event in events:
                self._events.put(event)
                if self._stop.is_set():
                    break
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()


class JobThread:
    """One thread that runs jobs in the order they come; it starts with the first and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._latest: Job | None = None

    def start(self, make: Callable[[], Iterator[Any]]) -> Job:
        """Put a generator in the queue; `make` is called in the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()
        self._latest = Job(make)
        self._jobs.put(self._latest)
        return self._latest

    @property
    def busy(self) -> bool:
        """Whether the latest job is not over yet."""
        return self._latest is not None and not self._latest.wait(0)

    def close(self, seconds: float = 10.0) -> None:
        """Stop the job at work and end the thread; waits for it at most `seconds`."""
        if self._latest is not None:
            self._latest.stop()
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.work()
