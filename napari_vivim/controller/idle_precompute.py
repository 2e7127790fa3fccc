"""Has the next click on the video in front prepared, once the person has corrected a frame and paused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer
from vivim.finetuning import Standby
from vivim.settings import settings

from napari_vivim.background.imports import load_torch
from napari_vivim.background.worker import Job

if TYPE_CHECKING:
    from vivim.network import Vivim

    from napari_vivim.background.worker import Worker
    from napari_vivim.controller.video_controller import VideoController

_log = logging.getLogger(__name__)
QUIET_MS = 700
"""Milliseconds without a stroke, and without a move to another frame, after which the work begins."""


class IdlePrecompute(QObject):
    """Works ahead for one video in its worker, and keeps a process ready.

    Any job, stroke or closing stops it, and so does moving about, for a moment.

    Parameters
    ----------
    controller : VideoController
        Whose session is followed.
    worker : Worker
        Where the video's other jobs are done, too.
    load : callable
        Gives a model by name; called in the worker.
    """

    def __init__(self, controller: VideoController, worker: Worker, load: Callable[[str], Vivim]) -> None:
        super().__init__(controller)
        self.controller, self._worker, self._load = controller, worker, load
        self.model, self.device = "", ""
        self.job: Job | None = None
        self.standby = Standby()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(QUIET_MS)
        self._soon.timeout.connect(self._begin)
        controller.opened.connect(self._soon.start)
        controller.frame_changed.connect(self._on_frame)
        controller.model_made.connect(self._on_model)
        controller.job_started.connect(lambda name: self.stop())
        controller.job_ended.connect(lambda name, finished: self._soon.start())

    def used(self, model: str, device: str) -> None:
        """The person chose these for a job: the next will likely be with them, too."""
        self.model, self.device = model, device

    def stop(self) -> None:
        """Make way, within tens of milliseconds."""
        self._soon.stop()
        if self.job is not None:
            self.job.cancel()

    def make_way(self, event: object = None) -> None:
        """The person moves about in the video, which wants both cores: go on a little later."""
        if self.job is not None or self._soon.isActive():
            self.stop()
            self._soon.start()

    def close(self) -> None:
        """Stop, and end the process that waits, without waiting for its end; safe to call twice."""
        self.stop()
        threading.Thread(target=self.standby.close, name="vivim-standby").start()
        # for a session that is opened again; a job that is about to stop starts none any more
        self.standby = Standby()

    def come_to_front(self) -> None:
        """Work for this video soon, and for no other of the viewer any longer."""
        self._end_others()
        self._soon.start()

    def _end_others(self) -> None:
        """Of the processes that wait, some 250 MB each, one is enough."""
        for other in self.controller.others():
            other.ahead.close()

    def _on_model(self, name: str) -> None:
        self.model = name

    def _on_frame(self, frame: int, status: str) -> None:
        if status != "proposed":
            self.stop()
            if not self.controller.busy:
                self._soon.start()

    def _begin(self) -> None:
        """Submit the work, if there is anything to learn from and nothing else to do."""
        session = self.controller.session
        if session is None or self.controller.busy or not session.frames_with("corrected", "accepted"):
            return
        if self.job is not None or self.controller.warming is not None:
            self._soon.start()  # the last one is about to make way, or the model is being made ready
            return
        self._end_others()
        start, stop, length = self.controller.current_frame, threading.Event(), settings().clip_length
        chosen, device_chosen, standby = self.model, self.device, self.standby

        def work() -> Iterator[Any]:
            load_torch()
            from vivim.devices import choose_device, is_remote
            from vivim.finetuning.precompute import precompute
            from vivim.registry.registry import default_model_name
            from vivim.remote.config import preferred_device

            device = device_chosen or preferred_device()
            if is_remote(device):
                return
            if choose_device(device).type == "cpu":
                standby.start()
            model = self._load(chosen or default_model_name())
            yield from precompute(session, model, start=start, clip_length=length, device=device, stop=stop)

        self.job = Job(work, stop)
        self.job.failed.connect(lambda error: _log.info("Not worked ahead: %s", error))
        self.job.ended.connect(self._on_ended)
        self._worker.submit(self.job)

    def _on_ended(self, finished: bool) -> None:
        self.job = None
