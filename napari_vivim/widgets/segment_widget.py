"""Vivim Segment: the whole work on a video in one dock, in its order: propose, review, learn, export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QPushButton, QVBoxLayout, QWidget
from vivim.analysis.active_learning import Suggestion
from vivim.errors import VideoChangedError
from vivim.settings import Settings

from napari_vivim.controller.shortcuts import BY_TITLE, bind
from napari_vivim.controller.video_controller import VideoController, controller_of, video_layers
from napari_vivim.qt.components import Folded, Progress, choice, heading, primary, quiet, row
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.staged_build import in_turns
from napari_vivim.timeline.timeline_widget import show_timeline
from napari_vivim.widgets.class_legend import ClassLegend
from napari_vivim.widgets.damage_notice import DamageBox
from napari_vivim.widgets.dialogs import ELSEWHERE, RELINK, what_of_another_video
from napari_vivim.widgets.edit_toolbar import Palette, button_for
from napari_vivim.widgets.export_widget import ExportWidget
from napari_vivim.widgets.finetune_widget import FinetuneWidget
from napari_vivim.widgets.model_manager import ModelsWindow, names_of_videos
from napari_vivim.widgets.model_selector import Choices, chosen_device
from napari_vivim.widgets.preferences import Preferences, open_preferences
from napari_vivim.widgets.roi_selector import AreaBox
from napari_vivim.widgets.video_panel import VideoPanel, reveal


class SegmentWidget(VideoPanel):
    """The dock in the order of work: video, propose, review, learn, export; a part shows when it can be used.

    Its parts are made in the turns of the event loop that follow; then it begins to follow the viewer.
    """

    own_jobs = ("propose",)
    reports_opening = True

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.folder = QPushButton("Choose a session folder ...")
        self.folder.setToolTip("Keep the work on this video somewhere else than beside it")
        self.folder.clicked.connect(self._choose_folder)
        self.folder.hide()
        self.reopen = QPushButton("Open the session again")
        self.reopen.setToolTip("Go on with the masks of this video")
        self.reopen.clicked.connect(self._reopen)
        self.reopen.hide()
        self.area = AreaBox()
        self.damage = DamageBox(show_problem)
        self.shows.connect(self._let_area_go)
        self.body.addWidget(self.damage)
        self.body.addWidget(self.area)
        self.body.addWidget(self.reopen)
        self.body.addWidget(self.folder)
        self._timeline_next = QTimer(self)
        self._timeline_next.setSingleShot(True)
        self._timeline_next.timeout.connect(self._show_timeline)
        later_steps = self._add_learning, self._add_exporting
        in_turns(self, self._add_propose, self._add_review, *later_steps, self._add_last, self.start)

    def _add_last(self) -> None:
        self.preferences = Preferences(self)
        self.preferences.changed.connect(self._on_settings)
        self.open_preferences = QPushButton("Preferences ...")
        self.open_preferences.setToolTip("Device, window length, folders, colours, another machine's device")
        self.open_preferences.clicked.connect(lambda: open_preferences(self.viewer))
        self.body.addWidget(self.open_preferences)
        self.body.addWidget(self.damage.button)
        self.body.addWidget(self.damage.result)
        bind(self.viewer, lambda: self.controller)

    def _add_propose(self) -> None:
        self.model, self.device = choice(), choice()
        self.model.setToolTip("The model that proposes; fine-tuning adds to this list")
        self.device.setToolTip("Where it runs; auto takes the fastest there is")
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        self.models = QPushButton("Models ...")
        self.models.setToolTip("All versions with their scores: use, rename, delete, export or import them")
        self.models.clicked.connect(self._show_models)
        line = row(self.model, self.models)
        line.setStretch(0, 1)
        form.addRow("Model", line)
        form.addRow("Device", self.device)
        self.propose = primary(
            "Propose masks",
            "Outline the lesion in every frame you have not corrected, starting at the one on screen",
        )
        self.propose.clicked.connect(self._propose)
        self.progress = Progress()
        self.progress.cancel.clicked.connect(self._cancel)
        self.body.addWidget(heading("Propose"))
        self.body.addLayout(form)
        self.body.addWidget(self.propose)
        self.body.addWidget(self.progress)
        self.choices = Choices(self.model, self.device, wait=self.is_opening)

    def _add_review(self) -> None:
        self.accept, self.accept_range = self._does("Accept frame"), self._does("Accept up to here")
        self.back, self.next = self._does("Back"), self._does("Next to correct")
        self.reason = quiet()
        self.reason.hide()
        self.classes = ClassLegend()
        self.apart = QCheckBox("Tell lesions apart")
        self.apart.setToolTip(
            "Outline each lesion in a colour of its own, the same in all frames, in a layer on top; its number "
            "stands in the status bar under the pointer, and in the exports"
        )
        self.apart.clicked.connect(self._tell_apart)
        self.hint = quiet(
            "Paint, erase or fill on the masks layer: a frame you touch counts as corrected, and no model changes it. "
            "Ctrl-Z takes it back, also after a restart."
        )
        self.corrections = Palette(lambda: self.controller)
        self.review = QWidget()
        lines = QVBoxLayout(self.review)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.addWidget(heading("Review"))
        lines.addWidget(self.classes)
        lines.addLayout(row(self.accept, self.accept_range))
        lines.addLayout(row(self.back, self.next))
        lines.addWidget(self.reason)
        lines.addWidget(self.corrections)
        lines.addWidget(self.apart)
        lines.addWidget(self.hint)
        self.body.addWidget(self.review)

    def _does(self, title: str) -> QPushButton:
        return button_for(BY_TITLE[title], lambda: self.controller)

    def _add_learning(self) -> None:
        self.learning = FinetuneWidget(self.viewer, host=self, device=self.device)
        self.learn = Folded("Learn", "Teach the model what you corrected", self.learning, heading=True)
        self._add_folded(self.learn)

    def _add_exporting(self) -> None:
        self.exporting = ExportWidget(self.viewer, host=self)
        about = "Write masks and measurements, or bring in masks"
        self.export = Folded("Export", about, self.exporting, heading=True)
        self._add_folded(self.export)

    def _add_folded(self, section: Folded) -> None:
        """A step folded away until it is wanted, and scrolled into sight then."""
        section.opened.connect(partial(reveal, section))
        self.body.addWidget(section)

    # -- what the person does -------------------------------------------------------------------------------------

    def _propose(self) -> None:
        if self.controller is not None:
            self.controller.propose(self.model.currentText(), chosen_device(self.device))

    def _cancel(self) -> None:
        if self.controller is not None:
            self.progress.cancel.setEnabled(False)
            self.progress.say("Stopping ...")
            self.controller.cancel()

    def _tell_apart(self, wanted: bool) -> None:
        if self.controller is not None:
            self.controller.tell_lesions_apart(wanted)

    def _reopen(self) -> None:
        if self.controller is not None:
            self.controller.open_session()

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Where to keep the work on this video")
        if chosen and self.controller is not None:
            self.controller.open_session(Path(chosen) / f"{self.controller.video_path.name}.vivim")

    def _show_models(self) -> None:
        videos = [controller_of(self.viewer, layer) for layer in video_layers(self.viewer)]
        window = ModelsWindow(self.window(), self.model.currentText(), lambda: names_of_videos(videos))
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
        """Settings were changed, here or by another program."""
        self.choices.refresh(self.model.currentText())
        for layer in video_layers(self.viewer):
            controller_of(self.viewer, layer).restyle()

    # -- what the controller says ---------------------------------------------------------------------------------

    def on_controller(self, controller: VideoController) -> None:
        """Show this video's frames; follow its models."""
        controller.model_made.connect(self.choices.refresh)
        self._connections.append((controller.model_made, self.choices.refresh))
        controller.classes_changed.connect(self._show_classes)
        self._connections.append((controller.classes_changed, self._show_classes))
        controller.suggested.connect(self._show_reason)
        self._connections.append((controller.suggested, self._show_reason))
        controller.lesions_closed.connect(self._show_apart)
        self._connections.append((controller.lesions_closed, self._show_apart))
        if len(video_layers(self.viewer)) > 1:
            controller.show_alone()
        self.reason.hide()
        self._show_apart()
        self.area.follow(controller)
        self.damage.follow(controller)
        self._show_classes()
        self._timeline_next.start()

    def _show_timeline(self) -> None:
        """In a turn of the event loop of its own: making it takes time."""
        if self.controller is not None and (self.controller.session is not None or self.is_opening()):
            show_timeline(self.viewer).follow(self.controller)

    def on_problem(self, error: Exception) -> None:
        """A video that is not the session's is asked about, once the job that met it is over; the rest is told."""
        if isinstance(error, VideoChangedError):
            QTimer.singleShot(0, lambda: self._ask(self.controller, error))
        else:
            show_problem(error)

    def _ask(self, controller: VideoController | None, error: VideoChangedError) -> None:
        if controller is not None and controller.busy:  # the job that met it is about to end
            QTimer.singleShot(20, lambda: self._ask(controller, error))
            return
        answer = what_of_another_video(self, error)
        if controller is None or controller is not self.controller:
            return
        if answer == RELINK:
            controller.open_session(error.folder, relink=True)
        elif answer == ELSEWHERE:
            self._choose_folder()

    def on_job_started(self) -> None:
        """Show that proposing begins; the first time the model has to be loaded."""
        self.progress.busy("Getting the model ready ...")

    def on_job_event(self, event: Any) -> None:
        """Show how far it is."""
        self.progress.show_proposed(event)

    def on_job_ended(self, finished: bool) -> None:
        """Back to rest."""
        self.progress.hide()

    def _show_reason(self, suggestion: Suggestion) -> None:
        self.reason.setText(f"Frame {suggestion.frame}: {suggestion.reason}.")
        self.reason.show()

    def _let_area_go(self, controller: VideoController | None) -> None:
        if controller is None:
            self.area.follow(None)
            self.damage.follow(None)

    def _show_apart(self) -> None:
        self.apart.setChecked(self.controller is not None and self.controller.lesions is not None)

    def _show_classes(self) -> None:
        if self.controller is not None:
            session = self.controller.session
            self.classes.show_classes(self.controller.masks, session.classes if session is not None else ())

    def update_state(self) -> None:
        """Nothing can be pressed before it can work."""
        ready = self.controller is not None and self.controller.session is not None
        busy = self.controller is not None and self.controller.busy
        if not ready:
            self.area.follow(None)
        self.folder.setVisible(not ready and not busy)
        self.reopen.setVisible(not ready and not busy)
        self.propose.setEnabled(ready and not busy)
        self.propose.setText("Propose masks" if not busy or not ready else "Working ...")
        self.review.setVisible(ready)
        self.export.setVisible(ready)
        self._offer_accepting()
        self._offer_learning()

    def on_frame_changed(self, frame: int, status: str) -> None:
        """The first mask is something to accept, the first corrected frame something to learn from."""
        self._offer_accepting()
        if status in ("corrected", "accepted") or self.learn.isVisible():
            self._offer_learning()

    def _offer_accepting(self) -> None:
        """There must be a mask first, in any frame."""
        session = self.controller.session if self.controller is not None else None
        there = session is not None and bool(session.statuses.any())
        self.accept.setEnabled(there)
        self.accept_range.setEnabled(there)

    def _offer_learning(self) -> None:
        """Show the part that learns once a frame is corrected or accepted."""
        session = self.controller.session if self.controller is not None else None
        self.learn.setVisible(session is not None and bool(session.frames_with("corrected", "accepted")))
