"""Vivim Fine-tune: one button that learns from the corrected frames and shows whether it helped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QComboBox, QFormLayout
from vivim.errors import VivimError
from vivim.registry import registry
from vivim.utils.time_left import TimeLeft

from napari_vivim.background.imports import in_background
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import Progress, Quiet, choice, clock, heading, plural, primary
from napari_vivim.qt.notifications import show_problem
from napari_vivim.widgets.finetune_result import FinetuneResult
from napari_vivim.widgets.loss_curve import LossCurve
from napari_vivim.widgets.model_selector import ModelSelector, chosen_device
from napari_vivim.widgets.replay_videos import ReplayVideos
from napari_vivim.widgets.video_panel import VideoPanel, reveal

SCOPES = {
    "Quick: decoder": "decoder",
    "Deeper: last stage too": "last-stage",
    "All of it: many minutes": "all",
}


class FinetuneWidget(VideoPanel):
    """Makes a model version from corrected frames, and shows its score on held-out frames.

    As a section of a dock it takes the dock's list of devices.
    """

    own_jobs = ("finetune",)
    _scored: Any = None
    _parent = ""

    def __init__(
        self, napari_viewer: napari.Viewer, host: VideoPanel | None = None, device: QComboBox | None = None
    ) -> None:
        super().__init__(napari_viewer, host)
        self.model = choice("The model to start from; it is never changed")
        self.device = device or choice("Where it runs; auto takes the fastest there is")
        self.scope = choice(
            "What may change in the model. Its last part, the decoder, is quick and safe; the encoder's last stage\n"
            "too where that is not enough; the whole network for videos unlike any seen before"
        )
        self.scope.addItems(list(SCOPES))
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Start from", self.model)
        form.addRow("How much", self.scope)
        if device is None:
            form.addRow("Device", self.device)
        self.material = Quiet()
        self.learn = primary(
            "Fine-tune", "Learn from every corrected and accepted frame, then propose anew", self._learn
        )
        self.progress = Progress()
        self.progress.cancel.clicked.connect(self._cancel)
        self.curve = LossCurve()
        self.curve.hide()
        if host is None:
            self.body.addWidget(heading("Learn from your corrections"))
        self.body.addLayout(form)
        self.replay = ReplayVideos()
        self.replay.list.itemChanged.connect(self.update_state)
        self.card = FinetuneResult()
        self.card.go_to.connect(lambda frame: self.controller.go_to(frame) if self.controller else None)
        self.card.use.connect(self._use)
        for widget in (self.replay, self.material, self.learn, self.progress, self.curve, self.card):
            self.body.addWidget(widget)
        self.choices = ModelSelector(
            self.model, self.device if device is None else None, wait=self.is_opening
        )
        self.start()

    def _use(self, name: str) -> None:
        """Use the model that the card offers, and propose again."""
        try:
            in_background(lambda: registry.model_path(name))
        except VivimError as error:  # renamed or deleted since
            show_problem(error)
            self.card.choose.setEnabled(False)
            return
        if self.controller is not None and not self.busy:
            self.controller.model_made.emit(name)
            self.controller.propose(name, chosen_device(self.device))
            self.card.taken(name)

    def _learn(self) -> None:
        if self.controller is not None and self.session is not None:
            others = self.replay.folders(without=self.session.folder)
            scope = SCOPES[self.scope.currentText()]
            self.controller.finetune(self.model.currentText(), chosen_device(self.device), scope, others)

    def _cancel(self) -> None:
        if self.controller is not None:
            self.progress.cancel.setEnabled(False)
            self.progress.say("Stopping; every model stays as it was ...")
            self.cancel()

    def slots(self, controller: VideoController) -> Sequence[tuple[Any, Any]]:
        """Follow the models of a video."""
        return ((controller.model_made, self.choices.refresh),)

    def on_controller(self, controller: VideoController) -> None:
        """Hide the result, which is of the video before, and offer the other videos to learn from."""
        self.card.hide()
        self.curve.hide()
        self._offer_open_videos(controller)

    def _offer_open_videos(self, controller: VideoController) -> None:
        """List the other videos of this viewer, which can be learned from with a tick."""
        folders = [other.session.folder for other in controller.others() if other.session is not None]
        self.replay.offer(folders, without=self._own_folder())

    def on_job_started(self) -> None:
        """Show that a new run begins."""
        self._scored, self._parent = None, self.model.currentText()
        self.card.hide()
        self.curve.clear("Starting ...")
        self.curve.show()
        self.progress.busy("Starting ...")
        self._steps, self._time_left = 0, TimeLeft()
        reveal(self.curve)

    def on_job_event(self, event: Any) -> None:
        """Show a step, a score or the result."""
        kind = getattr(event, "kind", "propose")
        if kind == "waiting":
            self.progress.say(event.note)
        elif kind == "passed-over":
            show_info(f"{plural(len(event.frames), 'damaged frame')} not learned from. Draw them anew first.")
        elif kind == "preparing":
            self.progress.show_step(
                event.done, event.total, f"Looking at corrected frame {event.done} of {event.total}"
            )
        elif kind == "step":
            self._show_step(event)
        elif kind == "heldout":
            self.curve.add_dice(event.step, event.dice)
        elif kind == "scored":
            self._scored = event
        elif kind == "finished":
            self._show_result(event)
        elif kind == "propose":
            self.progress.show_proposed(event, "Renewing proposals: ")

    def _show_step(self, event: Any) -> None:
        number = event.fold or event.rounds
        round_ = f"Round {number} of {event.rounds}" if event.rounds > 1 else "One round"
        if event.step == 1:
            self.curve.clear(f"Held-out round {event.fold}" if event.fold else "Last round", event.total)
        self.curve.add(event.loss)
        self._steps += 1
        if self._steps == 1:
            self._time_left.restart(1)
        total = self._steps + event.steps_left
        left = clock(self._time_left(self._steps, total))
        self.progress.show_step(self._steps, total, " · ".join(filter(None, (round_, left))))

    def _show_result(self, event: Any) -> None:
        others = self.controller.replayed if self.controller is not None else ()
        self.card.show_result(event, self._scored, self._parent, self.session, others)
        reveal(self.card)

    def on_job_ended(self, finished: bool) -> None:
        """Hide the progress."""
        self.progress.hide()
        self.curve.setVisible(finished)

    def on_frame_changed(self, frame: int, status: str) -> None:
        """Count again what there is to learn from."""
        if not self.busy:
            self.update_state()

    def update_state(self, *_: Any) -> None:
        """Enable the button when there is something to learn from, else say what is missing."""
        if self.controller is None:
            return
        usable = self._usable()
        ready = self.session is not None and not self.busy
        self.learn.setEnabled(ready and usable > 0)
        self.learn.setText(f"Fine-tune on {plural(usable, 'frame')}" if usable else "Fine-tune")
        others = len(self.replay.folders(self._own_folder()))
        more = f", and those of {plural(others, 'other video')}" if others else ""
        self.material.setText(
            f"{self._material()} of this video{more}."
            if usable
            else "Correct or accept a few frames first: that is what the model learns from."
        )

    def _own_folder(self) -> Path | None:
        return self.session.folder if self.session is not None else None

    def _usable(self) -> int:
        """How many frames of this video can be learned from."""
        counts = self.controller.counts() if self.controller is not None else {}
        return counts.get("corrected", 0) + counts.get("accepted", 0)

    def _material(self) -> str:
        """Those frames in words, by status."""
        counts = self.controller.counts() if self.controller is not None else {}
        kinds = [kind for kind in ("corrected", "accepted") if counts.get(kind)]
        parts = [f"{counts[kind]:,} {kind}" for kind in kinds]
        return f"{' and '.join(parts)} {'frame' if self._usable() == 1 else 'frames'}"
