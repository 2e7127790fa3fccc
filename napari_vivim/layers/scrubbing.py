"""Previews while the slider moves, so that the viewer never waits for a frame to be decoded.

napari's own answer to a move of the slider, which slices all layers, comes before the callbacks connected here. So a
step that the viewer stands on, but that has not been heard of here, is one that the viewer is slicing for; only then,
and only for that frame, previews are handed out. At all other times, and to everybody else, the layer's data are the
exact frames.
"""

import napari
from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from vivim.errors import VideoError
from vivim.video import Scrubber
from vivim.video.base import Video

from napari_vivim.layers.time_axis import frame_on_screen
from napari_vivim.layers.video_frames import ShownFrames
from napari_vivim.qt.canvas_message import canvas_message
from napari_vivim.qt.napari_window import main_window


class Scrubbing(QObject):
    """Lets a layer show previews at once and the exact frame as soon as it is decoded."""

    ready = Signal(int)
    """A frame of which a preview is shown can be shown itself."""
    failed = Signal(int, object)

    def __init__(self, viewer: napari.Viewer, layer: Image) -> None:
        super().__init__()
        self._viewer, self._layer = viewer, layer
        self._handled, self._said = self._step(), ""
        self._frames: ShownFrames | None = None
        self._scrubber: Scrubber | None = None
        if isinstance(layer.data, ShownFrames) and isinstance(layer.data.video, Video):
            self._frames = layer.data
            self.ready.connect(self._show_exact)
            self.failed.connect(self._say_failed)
            self._scrubber = Scrubber(layer.data.video, self.ready.emit, self.failed.emit)
            self._frames.preview_by(self._scrubber, self._moving_to)
            viewer.dims.events.point.connect(self._moved, position="last")

    def _step(self) -> int | None:
        return frame_on_screen(self._viewer, self._layer)

    def _moving_to(self) -> int | None:
        return self._step() if self._step() != self._handled else None

    def _moved(self) -> None:
        self._handled = self._step()
        asked, shown = (self._frames.shown if self._frames else None) or (-1, -1)
        waiting = asked == self._handled and asked != shown
        self._say(f"Frame {shown} for now: {asked} is being decoded" if waiting else "")

    def _show_exact(self, frame: int) -> None:
        if self._frames is not None and self._step() == frame:
            self._layer.refresh()
            self._say("")

    def _say_failed(self, frame: int, error: VideoError) -> None:
        if self._frames is not None and self._step() == frame:
            self._say(str(error))

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            canvas_message(main_window(self._viewer)).say(text)

    def close(self) -> None:
        """Show exact frames only, without waiting for the one being decoded. Safe to call twice."""
        if self._frames is None or self._scrubber is None:
            return
        self._viewer.dims.events.point.disconnect(self._moved)
        self._frames.preview_by(None, lambda: None)
        self._frames = None
        self._say("")
        self._scrubber.close()
        self._scrubber = None
