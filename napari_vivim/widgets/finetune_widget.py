"""Vivim Fine-tune: one button that learns from the corrected frames and shows whether it helped."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)
from vivim.errors import VivimError
from vivim.registry import registry
from vivim.session.metadata import label_of
from vivim.session.review import IGNORE
from vivim.utils.time_left import TimeLeft

from napari_vivim.background.worker import in_background
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import (
    Quiet,
    button,
    choice,
    clock,
    column,
    heading,
    plural,
    primary,
)
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import PlainLabel, tip
from napari_vivim.widgets.model_selector import ModelSelector, chosen_device
from napari_vivim.widgets.video_panel import VideoPanel, reveal

SCOPES = {
    "Quick (seconds)": "decoder",
    "Thorough": "last-stage",
    "Full": "all",
}
LISTED = 12
"""Held-out frames whose scores are written out."""
ROWS = 3
"""Sessions shown at once. More can be scrolled to."""
LITTLE = 0.005
"""A gain in Dice below this is called little."""


class FinetuneWidget(VideoPanel):
    """Makes a model version from corrected frames, and shows its score on held-out frames.

    As a section of a dock it takes the dock's lists of models and devices.
    """

    own_jobs = ("finetune",)
    stopping = "Stopping; every model stays as it was ..."
    _scored: Any = None
    _parent, _dice = "", ""

    def __init__(
        self,
        napari_viewer: napari.Viewer,
        host: VideoPanel | None = None,
        model: QComboBox | None = None,
        device: QComboBox | None = None,
    ) -> None:
        super().__init__(napari_viewer, host)
        self.model = model or choice("The model to start from; it is never changed")
        self.device = device or choice("Where it runs; auto takes the fastest there is")
        self.scope = choice(
            "What may change in the model. Its last part, the decoder, is quick and safe; the encoder's last stage\n"
            "too where that is not enough; the whole network, in many minutes, for videos unlike any seen before"
        )
        self.scope.addItems(list(SCOPES))
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("How much", self.scope)
        if host is None:
            form.insertRow(0, "Start from", self.model)
            form.addRow("Device", self.device)
        self.material = Quiet()
        self.learn = primary(
            "Fine-tune", "Learn from every corrected and accepted frame, then propose anew", self._learn
        )
        if host is None:
            self.body.addWidget(heading("Learn from your corrections"))
        self.body.addLayout(form)
        self.replay = ReplayVideos()
        self.replay.list.itemChanged.connect(self.update_state)
        self.card = FinetuneResult()
        self.card.use.connect(self._use)
        for widget in (self.replay, self.material, self.card):
            self.body.addWidget(widget)
        self.pin(self.progress, self.learn)
        self.model.currentTextChanged.connect(self.update_state)
        self.choices = ModelSelector(self.model, self.device, wait=self.is_opening) if host is None else None
        self.start()

    def _use(self, name: str) -> None:
        """Use the model that the card offers, and propose again."""
        try:
            in_background(lambda: registry.model_path(name))
        except VivimError as error:  # renamed or deleted since
            show_problem(error)
            self.card.choose.hide()
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

    def slots(self, controller: VideoController) -> Sequence[tuple[Any, Any]]:
        """Follow the models of a video, in a dock of its own."""
        return ((controller.model_made, self.choices.refresh),) if self.choices is not None else ()

    def on_controller(self, controller: VideoController) -> None:
        """Hide the result, which is of the video before, and offer the other videos to learn from."""
        self.card.hide()
        if self.choices is not None and controller.session is not None:
            self.choices.refresh(controller.model)
        folders = [other.session.folder for other in controller.others() if other.session is not None]
        self.replay.offer(folders, without=self._own_folder())

    def on_job_started(self) -> None:
        """Show that a new run begins."""
        self._scored, self._parent, self._dice = None, self.model.currentText(), ""
        self.card.hide()
        self.progress.busy("Starting ...")
        self._steps, self._time_left = 0, TimeLeft()

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
            self._dice = f"Dice {event.dice:.3f}"
        elif kind == "scored":
            self._scored = event
        elif kind == "finished":
            others = self.controller.replayed if self.controller is not None else ()
            self.card.show_result(event, self._scored, self._parent, others)
            reveal(self.card)
        elif kind == "propose":
            self.progress.show_proposed(event, "Renewing proposals: ")

    def _show_step(self, event: Any) -> None:
        number = event.fold or event.rounds
        round_ = f"Round {number} of {event.rounds}" if event.rounds > 1 else "One round"
        if event.step == 1:
            self._dice = ""
        self._steps += 1
        if self._steps == 1:
            self._time_left.restart(1)
        total = self._steps + event.steps_left
        left = clock(self._time_left(self._steps, total))
        said = round_, f"loss {event.loss:.3f}", self._dice, left
        self.progress.show_step(self._steps, total, " · ".join(filter(None, said)))

    def on_frame_changed(self, frame: int, status: str) -> None:
        """Count again what there is to learn from."""
        if not self.busy:
            self.update_state()

    def update_state(self, *_: Any) -> None:
        """Enable the button when there is something to learn from, else say what is missing."""
        if self.controller is None:
            return
        session = self.session
        ignored = [session.status(t) for t in session.frames_tagged(IGNORE)] if session is not None else []
        counts = {kind: count - ignored.count(kind) for kind, count in self.controller.counts().items()}
        kinds = [f"{counts[kind]:,} {kind}" for kind in ("corrected", "accepted") if counts[kind]]
        usable = counts["corrected"] + counts["accepted"]
        ready = self.session is not None and not self.busy
        self.learn.setEnabled(ready and usable > 0)
        self.learn.setText(f"Fine-tune on {plural(usable, 'frame')}" if usable else "Fine-tune")
        others = len(self.replay.folders(self._own_folder()))
        start = f" Starts from “{self.model.currentText()}”, the model under Propose." if self.host else ""
        more = f", and those of {plural(others, 'other video')}" if others else ""
        self.material.setText(
            f"{' and '.join(kinds)} {'frame' if usable == 1 else 'frames'} of this video{more}.{start}"
            if usable
            else "Correct or accept a few frames first: that is what the model learns from."
        )

    def _own_folder(self) -> Path | None:
        return self.session.folder if self.session is not None else None


class ReplayVideos(QWidget):
    """A list of session folders with ticks. Hidden while it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.list = QListWidget()
        self.list.setToolTip("Corrected and accepted frames of the ticked videos are learned from as well")
        self.list.hide()
        self._without: Path | None = None
        self.add = button(
            "Also learn from ...",
            "Choose the .vivim folder of another video: its corrected frames keep the model from forgetting it,\n"
            "and scores are then of whole videos held out",
            self._choose,
        )
        layout = column(self)
        layout.addWidget(self.list)
        layout.addWidget(self.add)

    def add_folder(self, folder: Path) -> None:
        """List a session folder and tick it."""
        for item in self._items():
            if item.data(Qt.ItemDataRole.UserRole) == str(folder):
                item.setCheckState(Qt.CheckState.Checked)
                return
        self._list_one(folder, Qt.CheckState.Checked)
        self._fit()

    def offer(self, folders: Iterable[Path], without: Path | None = None) -> None:
        """List new folders without a tick, and hide `without`, which is learned from anyway."""
        known = {item.data(Qt.ItemDataRole.UserRole) for item in self._items()}
        self._without = without
        for folder in folders:
            if str(folder) not in known:
                self._list_one(folder, Qt.CheckState.Unchecked)
        self._fit()

    def _list_one(self, folder: Path, state: Qt.CheckState) -> None:
        item = QListWidgetItem(label_of(folder))
        item.setData(Qt.ItemDataRole.UserRole, str(folder))
        item.setToolTip(tip(str(folder)))
        item.setCheckState(state)
        self.list.addItem(item)

    def _fit(self) -> None:
        """Make the list as high as its rows, up to `ROWS`."""
        for item in self._items():
            item.setHidden(item.data(Qt.ItemDataRole.UserRole) == str(self._without))
        count = sum(not item.isHidden() for item in self._items())
        height = self.list.sizeHintForRow(0) * min(ROWS, count)
        self.list.setFixedHeight(height + 2 * self.list.frameWidth() + 2)
        self.list.setVisible(count > 0)

    def folders(self, without: Path | None = None) -> list[Path]:
        """The ticked folders, except `without`, which is learned from anyway."""
        ticked = (item for item in self._items() if item.checkState() == Qt.CheckState.Checked)
        chosen = (Path(item.data(Qt.ItemDataRole.UserRole)) for item in ticked)
        return [folder for folder in chosen if without is None or folder.resolve() != without.resolve()]

    def _items(self) -> list[QListWidgetItem]:
        return [item for i in range(self.list.count()) if (item := self.list.item(i)) is not None]

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "The work on another video (a folder ending in .vivim)"
        )
        if chosen:
            self.add_folder(Path(chosen))


class FinetuneResult(QFrame):
    """Shows a `Finished` and the `Scored` before it: the scores before and after, and what to do now."""

    use = Signal(str)
    """The person wants this model to be used from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.verdict, self.scores = PlainLabel(), PlainLabel()
        self.explanation, self.frames = Quiet(), Quiet()
        self.verdict.setWordWrap(True)
        self.verdict.setStyleSheet("font-weight: 600;")
        self.scores.setStyleSheet("font-size: 20px;")
        self.frames.setToolTip("Dice of the frames while they were held out: before → after. Worst first")
        self._offered = ""
        self.choose = button("", "Take another model from now on", lambda: self.use.emit(self._offered))
        layout = QVBoxLayout(self)
        for part in (self.verdict, self.scores, self.explanation, self.frames, self.choose):
            layout.addWidget(part)
        self.hide()

    def show_result(self, event: Any, scored: Any, parent: str, others: Sequence[Path] = ()) -> None:
        """Fill the card with a `Finished`, made from the model `parent`, and a `Scored` or None.

        In `scored` the video on screen has the number 0; those of the folders `others` follow.
        """
        rows = sorted(scored.per_frame if scored else (), key=lambda row: row[3])[:LISTED]
        names = ["", *(f"{label_of(folder)} " for folder in others)]
        texts = (f"{names[n]}{t}: {a:.3f} → {b:.3f}".replace(" ", "\u00a0") for n, t, a, b in rows)
        self.frames.setText(", ".join(texts))
        self.frames.setVisible(bool(rows))
        self._offered = parent if event.promoted else event.name
        self.choose.setText(f"Go back to “{parent}”" if event.promoted else "Use it anyway")
        self.choose.setToolTip(
            tip(f"Take “{self._offered}” from now on and propose anew; corrected frames stay")
        )
        self.choose.show()
        self.show()
        if event.before is None:
            self.verdict.setText(f"Not judged yet. Still using “{parent}”.")
            self.scores.setText("")
            self.explanation.setText(
                f"One corrected frame cannot be held out. The new version “{event.name}” is in the list. Correct one "
                "more frame and fine-tune again to see whether it helps."
            )
            return
        gain = event.after - event.before
        if event.promoted:
            said = f"{'A little better' if gain < LITTLE else 'Better'}: “{event.name}” is now in use."
        else:
            said = f"{'The gain may be chance' if gain > 0 else 'Not better'}: “{parent}” stays in use."
        self.verdict.setText(said)
        digits = 3 if abs(gain) >= LITTLE else 4
        self.scores.setText(f"Dice {event.before:.{digits}f} → {event.after:.{digits}f}")
        self.explanation.setText(
            "The mean over corrected frames while each was held out; 1 is perfect. A gain counts where it is larger "
            "than its standard error. "
            f"Version “{event.name}”, made in {event.seconds:.0f} s. Worst frames:"
        )

    def taken(self, name: str) -> None:
        """Show that the offered model is in use."""
        self.verdict.setText(f"“{name}” is in use")
        self.choose.hide()
