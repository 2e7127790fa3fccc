"""Small parts the panels share: section headings, hints, the choice of a video, and news from a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_vivim.jobs import Job, News
from napari_vivim.layers import video_layers
from vivim.errors import VivimError

if TYPE_CHECKING:
    from napari import Viewer

POLL_MS = 50


def heading(text: str) -> QLabel:
    """The title of a section."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: 600; margin-top: 8px;")
    return label


def hint(text: str = "") -> QLabel:
    """A line of explanation; wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def big(button: Any) -> Any:
    """Make a button the one that stands out."""
    button.setMinimumHeight(36)
    button.setStyleSheet("font-weight: 600;")
    return button


def column(owner: QWidget) -> QVBoxLayout:
    """A scrolling column that fills `owner`, so that a low window loses nothing."""
    inner = QWidget()
    layout = QVBoxLayout(inner)
    layout.setContentsMargins(10, 4, 10, 10)
    layout.setSpacing(6)
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setWidget(inner)
    outer = QVBoxLayout(owner)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
    owner.setMinimumWidth(300)
    return layout


def tell(error: Exception) -> None:
    """Show an error: one sentence if it is ours, with its traceback if it is not."""
    if isinstance(error, VivimError):
        show_error(str(error))
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)


class VideoChoice(QComboBox):
    """The video layers of a viewer."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(12)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setToolTip("The video to work on. Open one by dropping it into the window.")
        viewer.layers.events.inserted.connect(self.renew)
        viewer.layers.events.removed.connect(self.renew)
        self.renew()

    def renew(self, event: Any = None) -> None:
        """List the videos anew; the one chosen stays chosen if it is still there."""
        chosen, layers = self.layer(), video_layers(self._viewer)
        if [self.itemData(i) for i in range(self.count())] == layers:
            return
        self.blockSignals(True)
        self.clear()
        for layer in layers:
            self.addItem(layer.name, layer)
        if chosen in layers:
            self.setCurrentIndex(layers.index(chosen))
        self.blockSignals(False)
        self.currentIndexChanged.emit(self.currentIndex())

    def layer(self) -> Image | None:
        """The layer chosen."""
        return self.currentData()

    def release(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self.renew)
        self._viewer.layers.events.removed.disconnect(self.renew)


class Watch(QObject):
    """Looks after one job at a time and passes on its news in the GUI thread."""

    def __init__(self, parent: QObject, on_news: Callable[[News], None]) -> None:
        super().__init__(parent)
        self._job: Job | None = None
        self._on_news = on_news
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether there is a job whose end was not told yet."""
        return self._job is not None

    def follow(self, job: Job) -> None:
        """Tell of this job from now on, instead of any other."""
        self._job = job
        self._timer.start()

    def stop(self) -> None:
        """Ask the job to stop."""
        if self._job is not None:
            self._job.stop()

    def _look(self) -> None:
        if self._job is None:
            self._timer.stop()
            return
        news = self._job.poll()
        if news.finished:
            self._job = None
            self._timer.stop()
        if news.events or news.finished:
            self._on_news(news)
