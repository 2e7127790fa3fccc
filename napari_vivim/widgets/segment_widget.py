"""Vivim Segment: the work on a video in one dock, from proposing to exporting."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QMessageBox, QPushButton, QWidget
from vivim.analysis.active_learning import Suggestion
from vivim.errors import SessionError, VideoChangedError
from vivim.settings import Settings, change_settings, settings

from napari_vivim.background.worker import in_background
from napari_vivim.controller.shortcuts import BY_TITLE, bind, run
from napari_vivim.controller.video_controller import VideoController, controller_of, video_layers
from napari_vivim.layers.time_axis import HIDDEN_KEY
from napari_vivim.qt.components import (
    Folded,
    Quiet,
    button,
    choice,
    column,
    in_turns,
    primary,
    row,
    single_shot,
)
from napari_vivim.qt.notifications import guarded, show_problem
from napari_vivim.qt.plain_text import plain
from napari_vivim.qt.style import GAP
from napari_vivim.timeline.timeline_widget import show_timeline
from napari_vivim.widgets.damage_notice import DamageNotice
from napari_vivim.widgets.edit_toolbar import (
    ClassLegend,
    EditToolbar,
    KeysButton,
    button_for,
    icon_button,
)
from napari_vivim.widgets.export_widget import ExportWidget
from napari_vivim.widgets.finetune_widget import FinetuneWidget
from napari_vivim.widgets.model_manager import ModelManager, names_of_videos
from napari_vivim.widgets.model_selector import ModelSelector, chosen_device
from napari_vivim.widgets.preferences import Preferences, open_preferences
from napari_vivim.widgets.prompt_panel import PromptPanel
from napari_vivim.widgets.reader_field import ReaderField, TagMenu
from napari_vivim.widgets.roi_selector import RoiSelector
from napari_vivim.widgets.video_panel import VideoPanel, reveal

RELINK, ELSEWHERE = "relink", "elsewhere"
REASON_LINES = 2
"""Of the text, so that what is below keeps its place whatever the text says."""


class SegmentWidget(VideoPanel):
    """The dock in the order of work: video, propose, review, learn, export.

    Its parts are made in the turns of the event loop that follow; then it begins to follow the viewer.
    """

    own_jobs = ("propose",)
    reports_opening = True

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        tip = "Keep the work on this video somewhere else than beside it"
        self.folder = button("Choose a session folder ...", tip, self._choose_folder)
        self.folder.hide()
        self.reopen = button(
            "Open the session again",
            "Go on with the masks of this video",
            lambda: self.controller.open_session() if self.controller is not None else None,
        )
        self.reopen.hide()
        self.reader = ReaderField()
        self.header.addWidget(self.reader)
        self.area = RoiSelector()
        self.damage = DamageNotice(show_problem)
        self.shows.connect(self._let_area_go)
        self.read = button(
            "Open read-only",
            "Look at the masks and export them while they are worked on elsewhere",
            lambda: self.controller.open_session(read_only=True) if self.controller is not None else None,
        )
        self.read.hide()
        self._locked = False
        for widget in (self.damage, self.area, self.read, self.reopen, self.folder):
            self.body.addWidget(widget)
        self._timeline_next = single_shot(self, 0, self._show_timeline)
        self._foot.setSpacing(0)
        self._steps: dict[Folded, QWidget] = {}
        """The steps of the work, each with its main action."""
        later_steps = self._add_learning, self._add_exporting
        in_turns(self, self._add_propose, self._add_review, *later_steps, self._add_last, self.start)

    def _add_last(self) -> None:
        self.preferences = Preferences(self)
        self.preferences.changed.connect(self._on_settings)
        tip = "Device, window length, folders, colours, another machine's device"
        self.open_preferences = button("Preferences ...", tip, lambda: open_preferences(self.viewer))
        self.body.addWidget(self.damage.result)
        self.body.addLayout(row(self.open_preferences, self.damage.button))
        self.show_step(self.proposing)
        bind(self.viewer, lambda: self.controller)

    def _add_step(self, title: str, tip: str, content: QWidget, foot: QWidget, main: QWidget) -> Folded:
        """Add a step of the work. Its `main` action is in sight, within `foot`, while the step is open."""
        section = Folded(title, tip, content, heading=True)
        section.opened.connect(partial(self.show_step, section))
        self._steps[section] = main
        self.body.addWidget(section)
        self.pin(foot)
        return section

    def show_step(self, step: Folded) -> None:
        """Open a step, and fold the others."""
        for one, main in self._steps.items():
            one.expand(one is step)
            main.setVisible(one is step)
        reveal(step)

    def _step(self) -> Folded:
        """The step that was opened last."""
        return next(one for one, main in self._steps.items() if not main.isHidden())

    def _add_propose(self) -> None:
        for title in ("Undo", "Redo"):
            self.top.addWidget(icon_button(BY_TITLE[title], lambda: self.controller, key=False))
        self.keys = KeysButton()
        self.top.addWidget(self.keys)
        self.model = choice("The model that proposes; fine-tuning adds to this list")
        self.device = choice("Where it runs; auto takes the fastest there is")
        content, form = QWidget(), QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        tip = "All versions with their scores: use, rename, delete, export or import them"
        self.models = button("Models", tip, self._show_models)
        line = row(self.model, self.models)
        line.setStretch(0, 1)
        form.addRow("Model", line)
        form.addRow("Device", self.device)
        self._propose_lines = column(content, GAP)
        self._propose_lines.addLayout(form)
        tip = "Outline the lesion in every frame you have not corrected, starting at the one on screen"
        self.propose, foot = primary("Propose masks", tip, self._propose), QWidget()
        lines = column(foot, GAP)
        lines.addWidget(self.progress)
        lines.addWidget(self.propose)
        about = "Let a model outline the lesion in all frames"
        self.proposing = self._add_step("Propose", about, content, foot, self.propose)
        self.model.textActivated.connect(self._choose_model)
        self.choices = ModelSelector(self.model, self.device, wait=self.is_opening)

    def _add_review(self) -> None:
        self.accept, self.accept_range = self._does("Accept frame"), self._does("Accept up to here")
        self.nothing, self.nothing_range = self._does("Nothing here"), self._does("Nothing up to here")
        self.back, to_next = self._does("Back"), BY_TITLE["Next to correct"]
        self.next = primary(
            to_next.title, f"{to_next.tip}  ({to_next.key})", lambda: run(to_next, self.controller)
        )
        self.reason = Quiet()
        self.reason.setMinimumHeight(REASON_LINES * self.reason.fontMetrics().height())
        self.reason.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._suggested: int | None = None
        self.viewer.dims.events.point.connect(self._let_reason_go)
        self.destroyed.connect(lambda: self.viewer.dims.events.point.disconnect(self._let_reason_go))
        self.classes = ClassLegend()
        self.classes.named.connect(self._name_classes)
        self.classes.coloured.connect(self._colour_class)
        self.apart = QCheckBox("Tell lesions apart")
        self.apart.setToolTip(
            "Outline each lesion in a colour of its own, the same in all frames, in a layer on top; its number "
            "stands in the status bar under the pointer, and in the exports"
        )
        self.apart.clicked.connect(self._tell_apart)
        self.tags = TagMenu(lambda: self.controller)
        self.corrections = EditToolbar(lambda: self.controller)
        self.prompts = PromptPanel(
            lambda: self.controller, lambda: (self.model.currentText(), chosen_device(self.device))
        )
        for box in (self.model, self.device):
            box.currentTextChanged.connect(lambda text: self._follow_prompts())
        content, foot = QWidget(), QWidget()
        lines = column(content, GAP)
        lines.addWidget(self.prompts)
        lines.addWidget(self.classes)
        lines.addLayout(row(self.accept, self.accept_range))
        lines.addLayout(row(self.nothing, self.nothing_range))
        line = row(self.tags, self.apart)
        line.setStretch(0, 1)
        line.setStretch(1, 1)
        lines.addLayout(line)
        lines.addWidget(self.corrections)
        below = column(foot, GAP)
        below.addWidget(self.reason)
        line = row(self.back, self.next)
        line.setStretch(1, 1)
        below.addLayout(line)
        self.review = self._add_step("Review", "Correct a few frames; the others follow", content, foot, foot)

    def _does(self, title: str) -> QPushButton:
        return button_for(BY_TITLE[title], lambda: self.controller)

    def _add_learning(self) -> None:
        made = self.learning = FinetuneWidget(self.viewer, self, self.model, self.device)
        self.learn = self._add_step(
            "Learn", "Teach the model what you corrected", made, made.foot, made.learn
        )
        self.learn.opened.connect(made.update_state)  # frames may have got tags since

    def _add_exporting(self) -> None:
        made = self.exporting = ExportWidget(self.viewer, host=self)
        self._propose_lines.addWidget(made.importing)
        self.export = self._add_step("Export", "Write masks and measurements", made, made.foot, made.write)

    # -- what the person does -------------------------------------------------------------------------------------

    def _propose(self) -> None:
        if self.controller is not None:
            self.controller.propose(self.model.currentText(), chosen_device(self.device))

    def _tell_apart(self, wanted: bool) -> None:
        if self.controller is not None:
            self.controller.outline_lesions(wanted)

    def _name_classes(self, names: tuple[str, ...]) -> None:
        guarded(lambda: self.controller.name_classes(names) if self.controller is not None else None)

    def _colour_class(self, label: int, color: str) -> None:
        """Give a class another colour, in every window from now on."""

        def change() -> None:
            colors = list(settings().colors())
            colors += colors[: max(0, label - len(colors))]
            colors[label - 1] = color
            change_settings(own_colors=", ".join(colors[: max(label, len(colors))]))

        guarded(lambda: in_background(change))
        self.preferences.refresh()

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Where to keep the work on this video")
        if chosen and self.controller is not None:
            self.controller.open_session(Path(chosen) / f"{self.controller.video_path.name}.vivim")

    def _show_models(self) -> None:
        videos = [controller_of(self.viewer, layer) for layer in video_layers(self.viewer)]
        window = ModelManager(self.window(), self.model.currentText(), lambda: names_of_videos(videos))
        window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        window.chosen.connect(self._choose_model)
        self.model.currentTextChanged.connect(window.set_in_use)
        window.changed.connect(lambda: self._choose_model(self.model.currentText()))
        window.show()

    def _choose_model(self, name: str) -> None:
        """Take a model from now on, in every panel of this video."""
        if self.controller is not None:
            self.controller.model_made.emit(name)

    def _on_settings(self, found: Settings) -> None:
        """Show the settings that were changed, here or by another program."""
        self.choices.refresh(self.model.currentText())
        for layer in video_layers(self.viewer):
            controller_of(self.viewer, layer).restyle(found)

    # -- what the controller says ---------------------------------------------------------------------------------

    def slots(self, controller: VideoController) -> Sequence[tuple[Any, Any]]:
        """Follow the models, classes, suggestions and lesions of a video."""
        return (
            (controller.model_made, self.choices.refresh),
            (controller.classes_changed, self._show_classes),
            (controller.suggested, self._show_reason),
            (controller.lesions_closed, self._show_apart),
            (controller.opened, self._follow_prompts),
            (controller.closed, self.prompts.show_state),
        )

    def on_controller(self, controller: VideoController) -> None:
        """Show this video's frames and classes, and open the timeline."""
        if len(video_layers(self.viewer)) > 1 or HIDDEN_KEY in controller.layer.metadata:
            controller.show_alone()
        self._show_reason(None)
        self._show_apart()
        self.reader.follow(controller)
        self.tags.show_frame()
        if controller.session is not None:
            self.choices.refresh(controller.model)
            begun = not controller.session.read_only and bool(controller.session.statuses.any())
            self.show_step(self.review if begun else self.proposing)
        self._follow_prompts()
        self.area.follow(controller)
        self.damage.follow(controller)
        self._show_classes()
        self._timeline_next.start()

    def _show_timeline(self) -> None:
        """Open the timeline, in a turn of the event loop of its own because that takes time."""
        if self.controller is not None and (self.controller.session is not None or self.is_opening()):
            show_timeline(self.viewer).follow(self.controller)

    def on_problem(self, error: Exception) -> None:
        """Ask about a video that is not the session's, and show other errors."""
        self._locked = isinstance(error, SessionError) and isinstance(error.__cause__, TimeoutError)
        if isinstance(error, VideoChangedError):
            QTimer.singleShot(0, lambda: self._ask(self.controller, error))
        else:
            show_problem(error)

    def _ask(self, controller: VideoController | None, error: VideoChangedError) -> None:
        if controller is not None and controller.busy:  # the job that met it is about to end
            QTimer.singleShot(20, lambda: self._ask(controller, error))
            return
        answer = ask_about_changed_video(self, error)
        if controller is None or controller is not self.controller:
            return
        if answer == RELINK:
            controller.open_session(error.folder, relink=True)
        elif answer == ELSEWHERE:
            self._choose_folder()

    def on_job_started(self) -> None:
        """Show that proposing begins."""
        self.progress.busy("Getting the model ready ...")

    def on_job_event(self, event: Any) -> None:
        """Show how far it is."""
        self.progress.show_proposed(event)

    def on_job_ended(self, finished: bool) -> None:
        """Go on to reviewing."""
        if finished and self._step() is self.proposing:
            self.show_step(self.review)

    def _show_reason(self, found: Suggestion | None) -> None:
        self._suggested = found.frame if found is not None else None
        self.reason.setText(f"Frame {found.frame}: {found.reason}." if found is not None else "")

    def _let_reason_go(self, event: Any = None) -> None:
        """Say no more why a frame was suggested once another is on screen, and name that one's tags."""
        self.tags.show_frame()
        here = self.controller.current_frame if self.controller is not None else None
        if self._suggested not in (None, here):
            self._show_reason(None)

    def _follow_prompts(self) -> None:
        if self.controller is not None:
            self.prompts.follow_controller(self.controller)

    def _let_area_go(self, controller: VideoController | None) -> None:
        if controller is None:
            self.area.follow(None)
            self.damage.follow(None)

    def _show_apart(self) -> None:
        self.apart.setChecked(self.controller is not None and self.controller.lesions is not None)

    def _show_classes(self) -> None:
        if self.controller is not None:
            names = self.session.classes if self.session is not None else ()
            self.classes.show_classes(self.controller.masks, names)

    def update_state(self) -> None:
        """Enable and show what can be used now."""
        ready, busy = self.session is not None, self.busy
        if not ready:
            self.area.follow(None)
        writable = self.session is not None and not self.session.read_only
        self.read.setVisible(not ready and not busy and self._locked)
        self.folder.setVisible(not ready and not busy)
        self.reopen.setVisible(not ready and not busy)
        self.area.setEnabled(writable)
        self.propose.setEnabled(writable and not busy)
        self.propose.setText("Propose masks" if not busy or not ready else "Working ...")
        self.review.setVisible(writable)
        self.export.setVisible(ready)
        self._offer_accepting()
        self._offer_learning()
        if self._step().isHidden():
            self.show_step(self.proposing)

    def on_frame_changed(self, frame: int, status: str) -> None:
        """Offer accepting at the first mask, and learning at the first corrected frame."""
        if frame == self._suggested and status in ("corrected", "accepted"):
            self._show_reason(None)
        self._offer_accepting()
        self.tags.show_frame()
        if status in ("corrected", "accepted") or self.learn.isVisible():
            self._offer_learning()

    def _offer_accepting(self) -> None:
        """Enable accepting once there is a mask in any frame."""
        there = self.session is not None and bool(self.session.statuses.any())
        self.accept.setEnabled(there)
        self.accept_range.setEnabled(there)

    def _offer_learning(self) -> None:
        """Show the part that learns once a frame is corrected or accepted."""
        session = self.session
        learnable = session is not None and bool(session.frames_with("corrected", "accepted"))
        self.learn.setVisible(learnable and session is not None and not session.read_only)


def ask_about_changed_video(parent: QWidget, error: VideoChangedError) -> str:
    """Ask what to do with a video that is not its session's: `RELINK`, `ELSEWHERE` in another folder, or ``""``."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Is this the same video?")
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(f"The masks in {error.folder.name} were not made on this file.")
    why = (
        f"{error.video.name} has as many frames of the same size, but other bytes: it was encoded anew, or replaced. "
        "Masks are only right if every frame still shows the same picture."
        if error.relinkable
        else f"{error.video.name} has another number of frames, or frames of another size: the masks cannot fit. Put "
        "the original back to go on with them; nothing in them is changed."
    )
    box.setInformativeText(plain(why))  # which older Qt formats by itself
    choices: dict[object, str] = {}
    if error.relinkable:
        same = box.addButton("Same pictures: go on with these masks", QMessageBox.ButtonRole.AcceptRole)
        choices[same] = RELINK
    other = box.addButton("Another video: keep its masks elsewhere ...", QMessageBox.ButtonRole.ActionRole)
    choices[other] = ELSEWHERE
    box.setDefaultButton(box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole))
    box.exec()
    return choices.get(box.clickedButton(), "")
