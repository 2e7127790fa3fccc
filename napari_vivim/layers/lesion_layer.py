"""A layer that outlines each lesion in a colour of its own, the same in every frame."""

from typing import Any

import napari
from napari.layers import Labels
from napari.utils import CyclicLabelColormap
from qtpy.QtCore import QObject, Signal
from vivim.analysis.live_lesion_tracks import LesionTrack
from vivim.session import Session
from vivim.video import LazyFrames

from napari_vivim.background.session_watcher import SessionWatcher
from napari_vivim.layers.time_axis import frame_on_screen, remove_soon
from napari_vivim.qt.notifications import show_problem

OUTLINE = 1 / 200
"""Width of an outline, as a part of the picture's shorter side."""
COLORS = (
    "#ffd400", "#ff4fd8", "#00c2ff", "#ff7a1a", "#b6ff3b", "#b388ff", "#ff5a5a", "#8ad1ff", "#f5f5f5", "#c98b4a",
)  # fmt: skip
"""Colours that differ from one another on a dark picture, and from the first classes' masks. Then they come again."""


class LesionWatcher(SessionWatcher):
    """Keeps the lesions' numbers up to date. `renewed` arrives in the thread it was made in."""

    renewed = Signal(object)
    """Frames whose lesions or numbers have changed: a set of int."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.track = LesionTrack(session)

    def on_changed(self, frames: set[int]) -> None:
        """Find and number the lesions of the frames."""
        for _ in self.track.measure(frames, self.stop):
            pass
        if renewed := set(self.track.link(self.stop)):
            self.renewed.emit(renewed)


class LesionLayer(QObject):
    """A layer of outlines of a session's lesions, kept up to date until it is closed or removed."""

    closed = Signal()

    def __init__(self, viewer: napari.Viewer, name: str, masks: Labels, session: Session) -> None:
        super().__init__()
        self._viewer = viewer
        self._watch = LesionWatcher(session)
        self.layer = Labels(
            LazyFrames(self._watch.track),
            name=name,
            scale=masks.scale,
            units=masks.units,
            axis_labels=masks.axis_labels,
            colormap=CyclicLabelColormap(colors=["transparent", *COLORS]),
            opacity=1.0,
        )
        self.layer.contour = max(2, round(min(session.shape[1:]) * OUTLINE))
        self.layer.editable = False
        self._watch.renewed.connect(self._show)
        self._watch.failed.connect(show_problem)
        viewer.add_layer(self.layer)
        viewer.layers.selection.active = masks  # strokes go on where they went
        viewer.layers.events.removed.connect(self._on_removed)
        self._watch.begin()

    def close(self) -> None:
        """Remove the layer. Safe to call twice."""
        if not self._watch.stop.is_set():
            self._watch.close()
            self._viewer.layers.events.removed.disconnect(self._on_removed)
            remove_soon(self._viewer, self.layer)
            self.closed.emit()

    def _show(self, frames: set[int]) -> None:
        if frame_on_screen(self._viewer, self.layer) in frames:
            self.layer.refresh()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.close()
