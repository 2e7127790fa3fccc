"""Precompute what the next click needs, once the person has corrected a frame and paused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from vivim.finetuning.worker_process import Standby
from vivim.session import Session
from vivim.settings import settings

from napari_vivim.background.worker import Job, Worker, load_torch
from napari_vivim.qt.components import single_shot

if TYPE_CHECKING:
    from vivim.network import Vivim

_log = logging.getLogger(__name__)
QUIET_MS = 700
"""Milliseconds without a stroke, and without a move to another frame, after which the work begins."""


class IdlePrecompute(QObject):
    """Precomputes for one video in its worker, and keeps a process ready.

    `load`, called in the worker, returns a model by name. `claim` returns the session and the frame to start at, or
    None while there is nothing to do.
    """

    def __init__(
        self,
        parent: QObject,
        worker: Worker,
        load: Callable[[str], Vivim],
        claim: Callable[[], tuple[Session, int] | None],
    ) -> None:
        super().__init__(parent)
        self._worker, self._load, self._claim = worker, load, claim
        self.model, self.device = "", ""
        """Those of the last job. The next one is likely to use them, too."""
        self.job: Job | None = None
        self.standby = Standby()
        self._timer = single_shot(self, QUIET_MS, self._begin)

    def schedule(self) -> None:
        """Begin once nothing else has happened for a moment."""
        self._timer.start()

    def stop(self) -> None:
        """Stop within tens of milliseconds."""
        self._timer.stop()
        if self.job is not None:
            self.job.cancel()

    def pause(self) -> None:
        """Leave the cores to a person who moves about in the video, and go on a little later."""
        if self.job is not None or self._timer.isActive():
            self.stop()
            self.schedule()

    def close(self) -> None:
        """Stop, and end the process that is ready without waiting for it. Safe to call twice."""
        self.stop()
        threading.Thread(target=self.standby.close, name="vivim-standby").start()
        # for a session that is opened again; a job that is about to stop starts none any more
        self.standby = Standby()

    def _begin(self) -> None:
        """Submit the work, if there is any."""
        if self.job is not None:
            self.schedule()  # it is about to stop
            return
        claimed = self._claim()
        if claimed is None:
            return
        stop, model_name, device_name, standby = threading.Event(), self.model, self.device, self.standby

        def work() -> Iterator[Any]:
            load_torch()
            from vivim.devices import choose_device, is_remote
            from vivim.finetuning.precompute import precompute
            from vivim.registry.registry import default_model_name
            from vivim.remote.config import preferred_device

            device = device_name or preferred_device()
            if is_remote(device):
                return
            if choose_device(device).type == "cpu":
                standby.start()
            model = self._load(model_name or default_model_name())
            session, start = claimed
            length = settings().clip_length
            yield from precompute(session, model, start=start, clip_length=length, device=device, stop=stop)

        self.job = Job(work, stop)
        self.job.failed.connect(lambda error: _log.info("Not precomputed: %s", error))
        self.job.ended.connect(self._on_ended)
        self._worker.submit(self.job)

    def _on_ended(self, finished: bool) -> None:
        self.job = None
