"""The jobs of one video: one at a time, in the video's worker, each telling how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_vivim.worker import Job, Worker


class Jobs(QObject):
    """Runs named jobs. Signals arrive in the window's thread.

    Parameters
    ----------
    name : str
        Of the worker's thread.
    """

    job_started = Signal(str)
    """"propose", "finetune", "export", "import" or "open" began."""
    job_event = Signal(object)
    job_failed = Signal(str, object)
    job_ended = Signal(str, bool)
    """A job is over: its name, and whether it was finished."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.worker = Worker(name)
        self.job: Job | None = None
        self.job_name = ""
        self.warming: Job | None = None
        """Getting the model ready for the first click; a job of the person's waits for it."""

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.job is not None

    def run(self, name: str, work: Callable[[], Iterator[Any]], stop: threading.Event | None = None) -> None:
        """Begin a job, while there is none.

        Parameters
        ----------
        name : str
            What it is called in the signals.
        work : callable
            Gives the items to report; called in the worker's thread.
        stop : threading.Event, optional
            Set on cancelling, for work that looks at it between two items.
        """
        job = Job(work, stop)
        self.job, self.job_name = job, name
        job.event.connect(self.on_event)
        job.failed.connect(lambda error: self.job_failed.emit(name, error))
        job.ended.connect(self._on_ended)
        self.job_started.emit(name)
        self.worker.submit(job)

    def cancel(self) -> None:
        """Stop the running job; what it has done stays."""
        for job in (self.warming, self.job):
            if job is not None:
                job.cancel()

    def on_event(self, event: Any) -> None:
        """The running job reports."""
        self.job_event.emit(event)

    def on_ended(self, name: str) -> None:
        """A job is over; nobody has been told yet."""

    def _on_ended(self, finished: bool) -> None:
        name, self.job, self.job_name = self.job_name, None, ""
        self.on_ended(name)
        self.job_ended.emit(name, finished)
