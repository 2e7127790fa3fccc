"""Vivim Fine-tune: one button that learns from the corrected frames and shows whether it helped."""

from __future__ import annotations

from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QComboBox, QFormLayout
from vivim.errors import VivimError
from vivim.registry import registry

from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import Progress, choice, clock, heading, plural, primary, quiet
from napari_vivim.qt.notifications import show_problem
from napari_vivim.widgets.finetune_eta import Pace
from napari_vivim.widgets.finetune_result import ResultCard
from napari_vivim.widgets.loss_curve import LossCurve
from napari_vivim.widgets.model_selector import Choices, chosen_device
from napari_vivim.widgets.replay_videos import Replay
from napari_vivim.widgets.video_panel import VideoPanel, reveal

SCOPES = {
    "Quick: decoder": "decoder",
    "Deeper: last stage too": "last-stage",
    "All of it: many minutes": "all",
}


class FinetuneWidget(VideoPanel):
    """Corrected frames in, a new model version out, with its score on frames that were held out.

    Parameters
    ----------
    napari_viewer, host
        As for `VideoPanel`.
    device : QComboBox, optional
        The dock's list of devices, where this is a section of one.
    """

    own_jobs = ("finetune",)
    _scored: Any = None
    _pace = Pace()
    _parent = ""

    def __init__(
        self, napari_viewer: napari.Viewer, host: VideoPanel | None = None, device: QComboBox | None = None
    ) -> None:
        super().__init__(napari_viewer, host)
        self.model, self.device, self.scope = choice(), device or choice(), choice()
        self.model.setToolTip("The model to start from; it is never changed")
        self.scope.addItems(list(SCOPES))
        self.scope.setToolTip(
            "What may change in the model. Its last part, the decoder, is quick and safe; the encoder's last stage\n"
            "too where that is not enough; the whole network for videos unlike any seen before"
        )
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Start from", self.model)
        form.addRow("How much", self.scope)
        if device is None:
            self.device.setToolTip("Where it runs; auto takes the fastest there is")
            form.addRow("Device", self.device)
        self.material = quiet()
        self.learn = primary("Fine-tune", "Learn from every corrected and accepted frame, then propose anew")
        self.learn.clicked.connect(self._learn)
        self.progress = Progress()
        self.progress.cancel.clicked.connect(self._cancel)
        self.curve = LossCurve()
        self.curve.hide()
        if host is None:
            self.body.addWidget(heading("Learn from your corrections"))
        self.body.addLayout(form)
        self.replay = Replay()
        self.replay.list.itemChanged.connect(self.update_state)
        self.body.addWidget(self.replay)
        self.body.addWidget(self.material)
        self.body.addWidget(self.learn)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.curve)
        self._add_card()
        self.choices = Choices(self.model, self.device if device is None else None, wait=self.is_opening)
        self.start()

    def _add_card(self) -> None:
        self.card = ResultCard()
        self.card.go_to.connect(lambda frame: self.controller.go_to(frame) if self.controller else None)
        self.card.use.connect(self._use)
        self.body.addWidget(self.card)

    def _use(self, name: str) -> None:
        """Another model than the score suggests, or the one before."""
        try:
            registry.model_path(name)
        except VivimError as error:  # renamed or deleted since
            show_problem(error)
            self.card.choose.setEnabled(False)
            return
        if self.controller is not None and not self.controller.busy:
            self.controller.model_made.emit(name)
            self.controller.propose(name, chosen_device(self.device))
            self.card.taken(name)

    def _learn(self) -> None:
        if self.controller is not None and self.controller.session is not None:
            others = self.replay.folders(without=self.controller.session.folder)
            scope = SCOPES[self.scope.currentText()]
            self.controller.finetune(self.model.currentText(), chosen_device(self.device), scope, others)

    def _cancel(self) -> None:
        if self.controller is not None:
            self.progress.cancel.setEnabled(False)
            self.progress.say("Stopping; every model stays as it was ...")
            self.controller.cancel()

    def on_controller(self, controller: VideoController) -> None:
        """Another video: its result is not the last one's."""
        controller.model_made.connect(self.choices.refresh)
        self._connections.append((controller.model_made, self.choices.refresh))
        self.card.hide()
        self.curve.hide()
        self._offer_open_videos(controller)

    def _offer_open_videos(self, controller: VideoController) -> None:
        """Other videos of this viewer can be learned from with a tick."""
        folders = [other.session.folder for other in controller.others() if other.session is not None]
        own = controller.session.folder if controller.session is not None else None
        self.replay.offer(folders, without=own)

    def on_job_started(self) -> None:
        """A new run."""
        self._scored, self._parent = None, self.model.currentText()
        self.card.hide()
        self.curve.clear("Starting ...")
        self.curve.show()
        self.progress.busy("Starting ...")
        self._pace = Pace()
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
        done, total, left = self._pace.taken(event)
        self.progress.show_step(done, total, " · ".join(filter(None, (round_, clock(left)))))

    def _show_result(self, event: Any) -> None:
        session = self.controller.session if self.controller is not None else None
        others = self.controller.replayed if self.controller is not None else ()
        self.card.show_result(event, self._scored, self._parent, session, others)
        reveal(self.card)

    def on_job_ended(self, finished: bool) -> None:
        """Back to rest."""
        self.progress.hide()
        self.curve.setVisible(finished)

    def on_frame_changed(self, frame: int, status: str) -> None:
        """There may be more to learn from."""
        if self.controller is not None and not self.controller.busy:
            self.update_state()

    def update_state(self, *_: Any) -> None:
        """The button works when there is something to learn from, and says so when there is not."""
        if self.controller is None:
            return
        usable = self._usable()
        ready = self.controller.session is not None and not self.controller.busy
        self.learn.setEnabled(ready and usable > 0)
        self.learn.setText(f"Fine-tune on {plural(usable, 'frame')}" if usable else "Fine-tune")
        others = len(self.replay.folders(self.controller.session.folder if self.controller.session else None))
        more = f", and those of {plural(others, 'other video')}" if others else ""
        self.material.setText(
            f"{self._material()} of this video{more}."
            if usable
            else "Correct or accept a few frames first: that is what the model learns from."
        )

    def _usable(self) -> int:
        """How many frames of this video can be learned from."""
        counts = self.controller.counts() if self.controller is not None else {}
        return counts.get("corrected", 0) + counts.get("accepted", 0)

    def _material(self) -> str:
        """Those frames in words, without a kind that there is none of."""
        counts = self.controller.counts() if self.controller is not None else {}
        kinds = [kind for kind in ("corrected", "accepted") if counts.get(kind)]
        said = [f"{counts[kind]:,} {kind}" for kind in kinds]
        return f"{' and '.join(said)} {'frame' if self._usable() == 1 else 'frames'}"
