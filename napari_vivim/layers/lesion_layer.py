"""Lesions told apart: a layer that outlines each in a colour of its own, the same in every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils import CyclicLabelColormap
from qtpy.QtCore import QObject, Signal
from vivim.analysis.live_lesion_tracks import LesionTrack
from vivim.session import Session
from vivim.video import LazyFrames

from napari_vivim.background.session_watcher import FrameWatch
from napari_vivim.qt.notifications import show_problem

if TYPE_CHECKING:
    from napari_vivim.controller.video_controller import VideoController

OUTLINE = 1 / 200
"""Width of an outline, as a part of the picture's shorter side."""
COLORS = (
    "#ffd400", "#ff4fd8", "#00c2ff", "#ff7a1a", "#b6ff3b", "#b388ff", "#ff5a5a", "#8ad1ff", "#f5f5f5", "#c98b4a",
)  # fmt: skip
"""Colours that differ from one another on a dark picture, and from the first classes' masks; then they come again."""


class LesionWatch(FrameWatch):
    """Keeps the numbers up to date; `renewed` arrives in the thread it was made in."""

    renewed = Signal(object)
    """Frames whose lesions or numbers are others now: a set of int."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.track = LesionTrack(session)

    def look(self, frames: set[int]) -> None:
        """Find and number them."""
        for _ in self.track.measure(frames, self.stop):
            pass
        if renewed := set(self.track.link(self.stop)):
            self.renewed.emit(renewed)


class LesionLayer(QObject):
    """The layer of one video and what keeps it up to date, until `close`, or until the layer is removed.

    Parameters
    ----------
    controller : VideoController
        With an open session.
    """

    closed = Signal()

    def __init__(self, controller: VideoController) -> None:
        super().__init__()
        assert controller.session is not None and controller.masks is not None
        self._viewer, self._masks = controller.viewer, controller.masks
        self._controller = controller
        self._watch = LesionWatch(controller.session)
        self.layer = _layer(self._watch, controller)
        self._watch.renewed.connect(self._show)
        self._watch.failed.connect(show_problem)
        self._viewer.add_layer(self.layer)
        self._viewer.layers.selection.active = self._masks  # strokes go on where they went
        self._viewer.layers.events.removed.connect(self._on_removed)
        controller.closed.connect(self.close)
        self._watch.begin()

    def close(self) -> None:
        """Take the layer away; safe to call twice."""
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _show(self, frames: set[int]) -> None:
        if self._controller.current_frame in frames:
            self.layer.refresh()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self._viewer.layers.events.removed.disconnect(self._on_removed)
            self._controller.closed.disconnect(self.close)
            self._watch.close()
            self.closed.emit()


def _layer(watch: LesionWatch, controller: VideoController) -> Labels:
    masks = controller.masks
    assert masks is not None and controller.session is not None
    layer = Labels(
        LazyFrames(watch.track),
        name=f"{controller.layer.name} lesions",
        scale=masks.scale,
        units=masks.units,
        axis_labels=masks.axis_labels,
        colormap=CyclicLabelColormap(colors=["transparent", *COLORS]),
        opacity=1.0,
    )
    layer.contour = max(2, round(min(controller.session.shape[1:]) * OUTLINE))
    layer.editable = False
    return layer
