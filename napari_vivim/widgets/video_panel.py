"""The base of the docks and their sections: it follows a video and its jobs, and reports errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import napari
from napari.layers import Image
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel
from vivim.session import Session
from vivim.video.open import SUFFIXES

from napari_vivim.controller.video_controller import VideoController, controller_of, video_layers
from napari_vivim.qt.components import (
    LAID_OUT_MS,
    FocusRing,
    Progress,
    Quiet,
    button,
    choice,
    column,
    parent_of,
    primary,
    row,
    single_shot,
)
from napari_vivim.qt.napari_window import give_keys_to_picture
from napari_vivim.qt.notifications import ErrorBanner, guarded, show_problem
from napari_vivim.qt.plain_text import tip
from napari_vivim.qt.style import GAP, MARGIN, SKETCH, SMALL, drawn

TYPED = QLineEdit, QAbstractSpinBox
MINIMUM_WIDTH = 315
"""Pixels: the widest row of a section, the margins and a scroll bar."""
PLUGIN, SAMPLE = "napari-vivim", "ultrasound_phantom"
HINT = "<b>No video yet.</b><br>Drag a video onto the window,<br>or a folder of pictures."
STEPS = (
    "<b>Propose</b>: a model outlines the lesion.<br>"
    "<b>Review</b>: correct a few frames; the others follow.<br>"
    "<b>Learn</b>: the model learns what you meant.<br>"
    "<b>Export</b>: masks, measurements, an overlay video."
)
FILES = f"Videos ({' '.join(f'*{suffix}' for suffix in SUFFIXES)});;All files (*)"


class VideoPanel(QWidget):
    """Base of the docks and of their sections.

    Subclasses fill `self.body` and override `slots`, `on_controller`, `on_job_event`, `on_job_ended`, `update_state`. A
    section shows the video that its dock, `host`, shows. Alone, a panel has its own choice of video.
    """

    own_jobs: tuple[str, ...] = ()
    stopping = "Stopping ..."
    shows = Signal(object)
    """Another video is shown: its controller, or None."""

    def __init__(self, napari_viewer: napari.Viewer, host: VideoPanel | None = None) -> None:
        super().__init__()
        self.viewer, self.host = napari_viewer, host
        self.controller: VideoController | None = None
        self._connections: list[tuple[Any, Any]] = []
        self._placed = False
        self.content, self.foot = QWidget(), QWidget()
        self.body = column(self.content, GAP)
        self._foot = column(self.foot, GAP)
        self.video, self.info = choice(), QElidingLabel()
        self.progress = Progress()
        self.progress.cancel.clicked.connect(self.cancel)
        self.empty = Welcome(napari_viewer)
        outer = column(self)
        outer.addWidget(self.content if host is not None else self._make_dock())
        if host is None:
            self.problem = ErrorBanner()
            self._foot.setContentsMargins(MARGIN, 0, MARGIN, GAP)
            outer.insertWidget(0, self.head)
            for widget in (self.foot, self.problem):
                outer.addWidget(widget)

    def pin(self, *widgets: QWidget) -> None:
        """Keep widgets in sight at the foot of the dock, wherever its body is scrolled to."""
        for widget in widgets:
            self._foot.addWidget(widget)

    def _make_dock(self) -> QScrollArea:
        """Put the choice of video above the body, which scrolls."""
        self.video.setToolTip("The video to work on")
        self.video.currentIndexChanged.connect(self._choose)
        self.info.setStyleSheet(SMALL)
        self.info.setTextFormat(Qt.TextFormat.PlainText)
        self.head = QWidget()
        lines = self.header = column(self.head, GAP)
        lines.setContentsMargins(MARGIN, GAP, MARGIN, 0)
        self.top = row(self.video)
        self.top.setStretch(0, 1)
        lines.addLayout(self.top)
        lines.addWidget(self.info)
        for widget in (self.empty, self.head, self.content, self.foot):
            widget.hide()  # until it is known which of them is wanted
        inner = QWidget()
        stack = QVBoxLayout(inner)
        stack.setContentsMargins(MARGIN, GAP, MARGIN, GAP)
        stack.addWidget(self.empty)
        stack.addWidget(self.content)
        stack.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(inner)
        self.setMinimumWidth(MINIMUM_WIDTH)
        self._ring = FocusRing(self)
        return area

    def start(self) -> None:
        """Begin to follow the viewer or the dock, at the end of a subclass's ``__init__``."""
        if self.host is not None:
            self.host.shows.connect(self._follow)
            self._follow(self.host.controller)
            return
        self.viewer.layers.events.inserted.connect(self._list_videos)
        self._list_soon = single_shot(self, 0, self._list_videos)
        self.viewer.layers.events.removed.connect(self._on_removed)
        self.destroyed.connect(self._forget_viewer)
        self._leave_keys_to_the_picture()
        self._list_videos()

    def _leave_keys_to_the_picture(self) -> None:
        """Let no click take the keyboard from the picture, except where one types. Tab reaches everything."""
        for one in self.findChildren(QWidget):
            if isinstance(one, QLineEdit):
                one.returnPressed.connect(self._give_keys_back)
            elif isinstance(one, QAbstractButton):
                one.clicked.connect(self._end_typing)
            elif isinstance(one, QComboBox):
                one.activated.connect(self._end_typing)
            if not isinstance(one, TYPED) and one.focusPolicy() != Qt.FocusPolicy.NoFocus:
                one.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def _end_typing(self, *_: Any) -> None:
        if isinstance(QApplication.focusWidget(), TYPED):
            self._give_keys_back()

    def _give_keys_back(self) -> None:
        """Hand the keyboard from this dock to the picture."""
        window, focus = parent_of(self, QMainWindow), QApplication.focusWidget()
        if window is not None and focus is not None and self.isAncestorOf(focus):
            give_keys_to_picture(window)

    def showEvent(self, event: Any) -> None:
        """Share the place of the other Vivim docks as tabs, at the first time."""
        super().showEvent(event)
        window, own_dock = self.window(), parent_of(self, QDockWidget)
        if not isinstance(window, QMainWindow) or own_dock is None or self._placed or self.host is not None:
            return
        self._placed = True
        panels = [panel for panel in window.findChildren(VideoPanel) if panel.host is None]
        others = [parent_of(panel, QDockWidget) for panel in panels if panel is not self]
        for dock in others:
            if dock is not None and not dock.isFloating():
                window.tabifyDockWidget(dock, own_dock)
                QTimer.singleShot(0, own_dock.raise_)
                return

    @property
    def session(self) -> Session | None:
        """The session of the video that is shown, while it is open."""
        return self.controller.session if self.controller is not None else None

    @property
    def busy(self) -> bool:
        """Whether a job of the video that is shown runs."""
        return self.controller is not None and self.controller.busy

    def cancel(self) -> None:
        """Stop the running job. What it has done stays."""
        if self.controller is not None:
            self.progress.cancel.setEnabled(False)
            self.progress.say(self.stopping)
            self.controller.cancel()

    def is_opening(self) -> bool:
        """Whether the video's session is being opened."""
        return self.controller is not None and self.controller.job_name == "open"

    def _forget_viewer(self) -> None:
        self.viewer.layers.events.inserted.disconnect(self._list_videos)
        self.viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_removed(self, event: Any) -> None:
        """Show another video once napari has taken this one away. To show it earlier crashes in OpenGL."""
        self._list_soon.start()

    def _list_videos(self, event: Any = None) -> None:
        layers = video_layers(self.viewer)
        shown = [self.video.itemData(i) for i in range(self.video.count())]
        if shown != layers:
            self.video.blockSignals(True)
            self.video.clear()
            for layer in layers:
                self.video.addItem(layer.name, layer)
            active = self.controller.layer if self.controller else None
            newest = layers[-1] if layers else None
            wanted = active if active in layers and len(shown) >= len(layers) else newest
            self.video.setCurrentIndex(layers.index(wanted) if wanted in layers else -1)
            self.video.blockSignals(False)
        self.empty.setVisible(not layers)
        for widget in (self.head, self.content, self.foot):
            widget.setVisible(bool(layers))
        self._choose()

    def _choose(self, index: int = -1) -> None:
        layer: Image | None = self.video.currentData()
        self._follow(controller_of(self.viewer, layer) if layer is not None else None)

    def _follow(self, controller: VideoController | None) -> None:
        if controller is self.controller:
            return
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections = []
        self.controller = controller
        self.progress.hide()
        if controller is not None and controller.job_name in self.own_jobs:
            self.progress.busy("Working ...")
        if controller is None:
            self.shows.emit(None)
            return
        for signal, slot in (
            (controller.opened, self._on_opened),
            (controller.closed, self._on_closed),
            (controller.job_started, self._on_job_started),
            (controller.job_event, self._on_job_event),
            (controller.job_failed, self._on_job_failed),
            (controller.job_ended, self._on_job_ended),
            (controller.frame_changed, self.on_frame_changed),
            *self.slots(controller),
        ):
            signal.connect(slot)
            self._connections.append((signal, slot))
        self.on_controller(controller)
        controller.open_session()
        self._describe()
        self.update_state()
        self.shows.emit(controller)

    def _describe(self) -> None:
        session = self.session
        if session is None:
            self.info.setText("Opening ...")
            return
        frames, height, width = session.shape
        parts = [f"{frames} frames", f"{width} x {height}"]
        parts += [f"{session.fps:.3g} fps"] if session.fps else []
        parts += [f"{session.pixel_spacing_mm[0]:.2g} mm/px"] if session.pixel_spacing_mm else []
        parts += ["read-only"] if session.read_only else []
        self.info.setText(" · ".join(parts))
        self.info.setToolTip(tip(f"Your work is kept, stroke by stroke, in\n{session.folder}"))

    def _on_opened(self) -> None:
        self._describe()
        assert self.controller is not None
        self.on_controller(self.controller)
        self.update_state()

    def _on_closed(self) -> None:
        self.info.setText("Closed; your work is kept")
        self.update_state()

    def _on_job_started(self, name: str) -> None:
        if self.host is None:
            self.problem.hide()
        if name in self.own_jobs:
            self._give_keys_back()
            self.on_job_started()
        self.update_state()

    def _on_job_event(self, event: Any) -> None:
        if self.controller is not None and self.controller.job_name in self.own_jobs:
            self.on_job_event(event)

    def _on_job_failed(self, name: str, error: Exception) -> None:
        if name in self.own_jobs or (name == "open" and self.reports_opening):
            if name == "open":
                self.info.setText("Could not be opened")
            self.on_problem(error)

    def _on_job_ended(self, name: str, finished: bool) -> None:
        if name in self.own_jobs:
            self.progress.hide()
            self.on_job_ended(finished)
        if self.host is None and not isinstance(QApplication.focusWidget(), TYPED):
            self._give_keys_back()
        self.update_state()

    reports_opening = False

    def slots(self, controller: VideoController) -> Sequence[tuple[Any, Any]]:
        """Further signals of a controller, each with the slot that it is connected to while its video is shown."""
        return ()

    def on_controller(self, controller: VideoController) -> None:
        """Show another video, or its session that is open now."""

    def on_problem(self, error: Exception) -> None:
        """Show the error of one of `own_jobs`, or of opening."""
        show_problem(error)

    def on_job_started(self) -> None:
        """Show that one of `own_jobs` begins."""

    def on_job_event(self, event: Any) -> None:
        """Show an event of one of `own_jobs`."""

    def on_job_ended(self, finished: bool) -> None:
        """Show that one of `own_jobs` is over."""

    def on_frame_changed(self, frame: int, status: str) -> None:
        """Show that a mask or status has changed."""

    def update_state(self) -> None:
        """Enable what can be used now."""


def reveal(widget: QWidget) -> None:
    """Scroll a panel until a widget is in sight, once it is laid out."""
    area = parent_of(widget, QScrollArea)
    if area is not None:
        timer = single_shot(widget, LAID_OUT_MS, partial(area.ensureWidgetVisible, widget))
        timer.timeout.connect(timer.deleteLater)
        timer.start()


class Welcome(QWidget):
    """Opens a video, or the synthetic one, in a viewer."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.hint, self.steps = QLabel(HINT), Quiet()
        self.steps.setTextFormat(Qt.TextFormat.RichText)  # of this program alone
        self.steps.setText(STEPS)
        self.hint.setTextFormat(Qt.TextFormat.RichText)
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.open = primary("Open a video ...", "Your work on it is kept in a folder beside it", self._choose)
        tip = "A synthetic ultrasound video with a lesion; more in File › Open Sample › Vivim"
        self.sample = button(
            "Try the sample", tip, lambda: guarded(lambda: viewer.open_sample(PLUGIN, SAMPLE))
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 24, 0, 0)
        layout.setSpacing(MARGIN)
        picture = QLabel()
        picture.setPixmap(drawn(SKETCH, 160, 110))
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        for part in (picture, self.hint, self.open, self.sample, self.steps):
            layout.addWidget(part)

    def _choose(self) -> None:
        chosen = QFileDialog.getOpenFileName(self, "Open a video", filter=FILES)[0]
        if chosen:
            guarded(lambda: self._viewer.open(chosen, plugin=PLUGIN))
