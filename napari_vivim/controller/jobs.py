"""The jobs of one video: one at a time, in the video's worker, each telling how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from vivim.session import Session
from vivim.settings import settings

from napari_vivim.background.imports import load_torch, look_at_new_things_only
from napari_vivim.background.session_closing import wait_for_closing
from napari_vivim.background.worker import Job, Worker
from napari_vivim.layers.masks_layer import warm_up_masks_layer

if TYPE_CHECKING:
    from vivim.finetuning import Standby
    from vivim.network import Vivim


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


REST_SECONDS = 0.3
"""The window has so much time to show a session that was opened, before the model is loaded."""


def opening(
    video: Path, folder: str | None, relink: bool, opened: list[Session], stop: threading.Event
) -> Iterator[Session]:
    """Open or resume a video's session; the one item is the session.

    It is added to `opened`, for whoever closes it if nobody is left to take it.
    """
    warm_up_masks_layer()
    wait_for_closing()
    session = Session.open(video, folder=folder, lazy=True, relink=relink)
    opened.append(session)
    if stop.is_set():  # it took so long that nobody waits any more
        session.close()
        return
    yield session


Load = Callable[[str], "Vivim"]
"""From a model's name to the model."""


def warming(load: Load, stop: threading.Event) -> Iterator[Any]:
    """Load the default model and run it once, so that the first mask comes soon after the click."""
    stop.wait(REST_SECONDS)
    load_torch()
    from vivim.finetuning.warmup import warm_up
    from vivim.registry.registry import default_model_name
    from vivim.remote.config import preferred_device

    warm_up(load(default_model_name()), preferred_device(), stop)
    look_at_new_things_only()
    yield from ()


def proposing(
    session: Session, load: Load, model: str, start: int, device: str, stop: threading.Event
) -> Iterator[Any]:
    """Propose masks, outward from the frame `start`."""
    from vivim.devices import choose_device, is_remote
    from vivim.inference.kernel_compilation import compile_kernels

    if not is_remote(device) and choose_device(device).type == "cpu":
        compile_kernels(stop)
    yield from _proposals(session, load, model, start, device, stop)


def finetuning(
    session: Session,
    load: Load,
    model: str,
    start: int,
    device: str,
    stop: threading.Event,
    scope: str,
    others: Sequence[Path],
    standby: Standby,
) -> Iterator[Any]:
    """Learn from the corrected frames, and those of the sessions `others`; a better version renews the proposals."""
    from vivim.api import finetune
    from vivim.finetuning import Finished

    finished: Finished | None = None
    with ExitStack() as stack:
        more = [stack.enter_context(Session.open(path, read_only=True)) for path in others]
        parent = load(model)
        for event in finetune(
            [session, *more], parent, device=device, scope=scope, stop=stop, standby=standby
        ):
            finished = event if isinstance(event, Finished) else None
            yield event
    if finished is not None and finished.promoted:
        yield from _proposals(session, load, finished.name, start, device, stop)


def exporting(session: Session, folder: Path, formats: list[str], options: dict[str, Any]) -> Iterator[Any]:
    """Export masks into a folder, with the options of `vivim.io.export.export`."""
    from vivim.io.export import export

    yield from export(session, folder, formats, **options)


def importing(session: Session, path: Path, status: str) -> Iterator[Any]:
    """Bring masks made elsewhere into the session, as ``"corrected"`` or ``"proposed"``."""
    from vivim.io.import_masks import import_masks

    yield from import_masks(session, path, status)


def _proposals(
    session: Session, load: Load, model: str, start: int, device: str, stop: threading.Event
) -> Iterator[Any]:
    from vivim.api import propose

    length = settings().clip_length
    return propose(session, load(model), start=start, device=device, stop=stop, clip_length=length)
