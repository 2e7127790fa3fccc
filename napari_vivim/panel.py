"""What the three dock widgets share: choosing the video, sections with a title, progress, errors as notifications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel
from vivim.errors import VivimError

from napari_vivim.controller import VideoController, controller_of, video_layers
from napari_vivim.worker import Job, Worker

EMPTY_HINT = (
    "<b>No video yet.</b><br>Drag a video onto the window,<br>or try <i>File › Open Sample › Vivim</i>."
)


def heading(text: str) -> QLabel:
    """Title of a section."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: 600; font-size: 13px; margin-top: 6px;")
    return label


def quiet(text: str = "") -> QLabel:
    """Explaining text, less prominent."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet("font-size: 11px; opacity: 0.8;")
    return label


def primary(text: str, tip: str) -> QPushButton:
    """The one button of a section that does the work."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumHeight(34)
    button.setStyleSheet(
        "QPushButton { background-color: #1f9d61; color: white; font-weight: 600; border-radius: 4px; }"
        "QPushButton:hover { background-color: #26b873; }"
        "QPushButton:disabled { background-color: #5b6470; color: #aeb6bf; }"
    )
    return button


def row(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def choice() -> QComboBox:
    """A drop-down list that gives way in a narrow panel instead of pushing the rest out of sight."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def clock(seconds: float | None) -> str:
    """Time left, for people."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


class Progress(QWidget):
    """A bar, a line of text and a Cancel button; hidden while nothing runs."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.text = quiet()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what is done so far stays")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(4)
        layout.addWidget(self.bar)
        line = row(self.text, self.cancel)
        line.setStretch(0, 1)
        layout.addLayout(line)
        self.hide()

    def busy(self, text: str) -> None:
        """Show that something is under way whose length is not known."""
        self.bar.setRange(0, 0)
        self.text.setText(text)
        self.cancel.setEnabled(True)
        self.show()

    def show_step(self, done: int, total: int, text: str) -> None:
        """Show how far it is."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.text.setText(text)


class VideoPanel(QWidget):
    """Base of the dock widgets: follows the viewer's videos and shows one of them.

    Subclasses fill `self.body` and override `on_controller`, `on_job_event`, `on_job_ended`, `update_state`.
    """

    own_jobs: tuple[str, ...] = ()

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.controller: VideoController | None = None
        self._connections: list[tuple[Any, Any]] = []
        self._placed = False
        self.video = choice()
        self.video.setToolTip("The video to work on")
        self.info = QElidingLabel()
        self.info.setStyleSheet("font-size: 11px;")
        self.empty = QLabel(EMPTY_HINT)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setMinimumHeight(120)
        self.content = QWidget()
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(6)
        self.body.addWidget(heading("Video"))
        self.body.addWidget(self.video)
        self.body.addWidget(self.info)
        inner = QWidget()
        stack = QVBoxLayout(inner)
        stack.setContentsMargins(10, 6, 10, 6)
        stack.addWidget(self.empty)
        stack.addWidget(self.content)
        stack.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self.setMinimumWidth(290)
        self.video.currentIndexChanged.connect(self._choose)

    def start(self) -> None:
        """Begin to follow the viewer; called at the end of a subclass's ``__init__``."""
        self.viewer.layers.events.inserted.connect(self._list_videos)
        self.viewer.layers.events.removed.connect(self._list_videos)
        self.destroyed.connect(self._forget_viewer)
        self._list_videos()

    def showEvent(self, event: Any) -> None:
        """Share the place of the other Vivim docks as tabs, so that each has the full height."""
        super().showEvent(event)
        window, mine = self.window(), _dock_of(self)
        if not isinstance(window, QMainWindow) or mine is None or self._placed:
            return
        self._placed = True
        others = [_dock_of(panel) for panel in window.findChildren(VideoPanel) if panel is not self]
        for dock in others:
            if dock is not None and not dock.isFloating():
                window.tabifyDockWidget(dock, mine)
                QTimer.singleShot(0, mine.raise_)
                return

    def _forget_viewer(self) -> None:
        self.viewer.layers.events.inserted.disconnect(self._list_videos)
        self.viewer.layers.events.removed.disconnect(self._list_videos)

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
        self.content.setVisible(bool(layers))
        self._choose()

    def _choose(self, index: int = -1) -> None:
        layer: Image | None = self.video.currentData()
        controller = controller_of(self.viewer, layer) if layer is not None else None
        if controller is self.controller:
            return
        for signal, slot in self._connections:
            signal.disconnect(slot)
        self._connections = []
        self.controller = controller
        if controller is None:
            return
        for signal, slot in (
            (controller.opened, self._on_opened),
            (controller.closed, self._on_closed),
            (controller.job_started, self._on_job_started),
            (controller.job_event, self._on_job_event),
            (controller.job_failed, self._on_job_failed),
            (controller.job_ended, self._on_job_ended),
            (controller.frame_changed, self.on_frame_changed),
        ):
            signal.connect(slot)
            self._connections.append((signal, slot))
        self.on_controller(controller)
        controller.open_session()
        self._describe()
        self.update_state()

    def _describe(self) -> None:
        if self.controller is None:
            return
        session = self.controller.session
        if session is None:
            self.info.setText("Opening ...")
            return
        frames, height, width = session.shape
        parts = [f"{frames} frames", f"{width} x {height}"]
        parts += [f"{session.fps:.3g} fps"] if session.fps else []
        parts += [f"{session.pixel_spacing_mm[0]:.2g} mm/px"] if session.pixel_spacing_mm else []
        self.info.setText(" · ".join(parts))
        self.info.setToolTip(f"Your work is kept, stroke by stroke, in\n{session.folder}")

    def _on_opened(self) -> None:
        self._describe()
        assert self.controller is not None
        self.on_controller(self.controller)
        self.update_state()

    def _on_closed(self) -> None:
        self.info.setText("Closed; your work is kept")
        self.update_state()

    def _on_job_started(self, name: str) -> None:
        if name in self.own_jobs:
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
            self.on_job_ended(finished)
        self.update_state()

    reports_opening = False

    def on_controller(self, controller: VideoController) -> None:
        """Another video was chosen, or its session is open now."""

    def on_problem(self, error: Exception) -> None:
        """One of `own_jobs`, or opening, failed."""
        show_problem(error)

    def on_job_started(self) -> None:
        """One of `own_jobs` began."""

    def on_job_event(self, event: Any) -> None:
        """One of `own_jobs` reports."""

    def on_job_ended(self, finished: bool) -> None:
        """One of `own_jobs` is over."""

    def on_frame_changed(self, frame: int, status: str) -> None:
        """A mask or status changed."""

    def update_state(self) -> None:
        """Enable what can be used now."""


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock a panel sits in, if any."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def show_problem(error: Exception) -> None:
    """Tell the person: our own errors are written for them, others come with their kind."""
    show_error(str(error) if isinstance(error, VivimError) else f"{type(error).__name__}: {error}")


def device_label(name: str) -> str:
    """What the list of devices shows; for another machine's its host."""
    from vivim.device import is_remote

    if not is_remote(name):
        return name
    from vivim.remote.settings import label_of

    return label_of(name)


def chosen_device(devices: QComboBox) -> str:
    """The device chosen in a list, as `vivim` names it."""
    return devices.currentData() or devices.currentText()


class Choices:
    """Fills the lists of models and devices in the background: asking for them loads PyTorch."""

    def __init__(self, models: QComboBox, devices: QComboBox) -> None:
        self._models, self._devices = models, devices
        models.addItem("starter")
        devices.addItem("auto")
        self._worker = Worker("vivim-lists")
        self._job: Job | None = None
        self._preferred = "auto"
        self.refresh()

    def refresh(self, select: str | None = None) -> None:
        """Ask again; then choose the model `select`, or keep the choice there is."""

        def work() -> Iterator[tuple[list[Any], list[str], str, str]]:
            from vivim.device import available_devices, preferred_device
            from vivim.models import default_model_name, list_models
            from vivim.remote.settings import remote_device

            devices, chosen = available_devices(), select or default_model_name()
            yield list_models(), devices, chosen, preferred_device(remote=False)
            if remote := remote_device():  # last: where it is set up wrongly, the rest is there
                yield list_models(), [*devices, remote], chosen, preferred_device()

        self._job = Job(work)
        self._job.event.connect(self._fill)
        self._job.failed.connect(show_problem)
        self._worker.submit(self._job)

    def _fill(self, found: tuple[list[Any], list[str], str, str]) -> None:
        models, devices, chosen, preferred = found
        self._models.clear()
        for info in models:
            self._models.addItem(info.name)
            self._models.setItemData(self._models.count() - 1, model_tip(info), Qt.ItemDataRole.ToolTipRole)
        self._models.setCurrentText(chosen)
        kept = self._devices.currentText() if preferred == self._preferred else device_label(preferred)
        self._preferred = preferred
        self._devices.clear()
        for name in ["auto", *devices]:
            self._devices.addItem(device_label(name), name)
        self._devices.setCurrentText(kept)


def model_tip(info: Any) -> str:
    """What a list of models says of one of them."""
    lines = [info.description]
    if info.parent:
        lines.append(f"made from {info.parent} with {info.frames} corrected frames")
    if info.before is not None and info.after is not None:
        lines.append(f"Dice on held-out frames {info.before:.3f} → {info.after:.3f}")
    return "\n".join(lines)
