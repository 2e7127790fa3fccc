"""A video as the data of an image layer, with previews while the slider moves."""

import threading
from collections.abc import Callable
from typing import Any

import napari
import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from vivim.errors import VideoError
from vivim.video import LazyFrames, Scrubber, Video, open_video

from napari_vivim.layers.time_axis import frame_on_screen
from napari_vivim.qt.napari_window import canvas_message, main_window


class ShownFrames(LazyFrames):
    """Frames of a video as layer data. They are exact, except for previews while the slider moves."""

    video: Video

    def __init__(self, video: Video) -> None:
        super().__init__(video)
        self.shown: tuple[int, int] | None = None
        """At the last move of the slider: the frame asked for, and the one shown."""
        self._scrubber: Scrubber | None = None
        self._moving_to: Callable[[], int | None] = lambda: None
        self._window_thread = threading.get_ident()
        self.gamma, self.limits = 1.0, (0.0, 255.0)
        """How colours are shown. napari has this for grey values alone."""

    def preview_by(self, scrubber: Scrubber | None, moving_to: Callable[[], int | None]) -> None:
        """Take previews from `scrubber` of the frame that `moving_to` names, when the window's thread asks for it."""
        self._scrubber, self._moving_to = scrubber, moving_to
        self._window_thread = threading.get_ident()

    def __getitem__(self, key: Any) -> NDArray:
        # its layer went, but napari made another of it
        if isinstance(self.video, Video) and self.video.closed:
            self.video = open_video(self.video.path)
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        frame = _single(first, len(self))
        if self._scrubber is None or frame is None or threading.get_ident() != self._window_thread:
            return super().__getitem__(key)
        return self._adjusted(self._on_screen(key, first, rest, frame))

    def _adjusted(self, picture: NDArray) -> NDArray:
        if (self.gamma, *self.limits) == (1.0, 0.0, 255.0) or picture.dtype != np.uint8:
            return picture
        low, high = self.limits
        levels = np.clip((np.arange(256) - low) / (high - low), 0, 1) ** self.gamma * 255
        return levels.astype(np.uint8)[picture]

    def _on_screen(self, key: Any, first: Any, rest: list[Any], frame: int) -> NDArray:
        """One frame for the window, which may be a preview."""
        if self._scrubber is None or frame != self._moving_to():
            return super().__getitem__(key)
        number, picture = self._scrubber.show(frame)
        self.shown = frame, number
        return (picture[None] if isinstance(first, slice) else picture)[
            (slice(None), *rest) if isinstance(first, slice) else tuple(rest)
        ]


def _single(key: Any, count: int) -> int | None:
    """The one frame that an index along time picks, or None."""
    if isinstance(key, slice):
        picked = range(*key.indices(count))
        return picked[0] if len(picked) == 1 else None
    return int(key) if isinstance(key, (int, np.integer)) and 0 <= key < count else None


LayerData = tuple[Any, dict[str, Any], str]
PATH_KEY, SESSION_KEY = "vivim_path", "vivim_session"
"""Keys in a layer's metadata: where its video is, and the session folder if one was opened."""


GAMMAS = 0.2, 2.0


def geometry(video: Video) -> dict[str, Any]:
    """Scale, units and axis labels of a video's layers: (time, y, x)."""
    spacing = video.pixel_spacing_mm
    return {
        "scale": (1.0, *(spacing or (1.0, video.pixel_aspect))),
        "units": ("pixel", *(("mm", "mm") if spacing else ("pixel", "pixel"))),
        "axis_labels": ("time", "y", "x"),
    }


def image_layer(video: Video, **metadata: Any) -> LayerData:
    """Layer data of an opened video."""
    top = 255 if video.dtype == np.uint8 else max(1, int(video.frame(0).max()))
    options = {
        "name": video.path.stem,
        "rgb": len(video.shape) == 4,
        "contrast_limits": (0, top),
        "metadata": {PATH_KEY: str(video.path), **metadata},
        **geometry(video),
    }
    return ShownFrames(video), options, "image"


def adjust(layer: Image, gamma: float = 0.0, contrast: float = 0.0) -> None:
    """Multiply gamma and contrast of a video's picture by these factors. Without any it is shown as at first."""
    shown: Any = layer.data if layer.rgb else layer
    name = "limits" if layer.rgb else "contrast_limits"
    whole = (0.0, 255.0) if layer.rgb else tuple(layer.contrast_limits_range)
    low, high = getattr(shown, name)
    if not gamma and not contrast:
        shown.gamma, (low, high) = 1.0, whole
    shown.gamma = float(np.clip(shown.gamma * (gamma or 1.0), *GAMMAS))
    middle, half = (low + high) / 2, (high - low) / 2 / (contrast or 1.0)
    half = max(half, (whole[1] - whole[0]) / 20)
    setattr(shown, name, (max(whole[0], middle - half), min(whole[1], middle + half)))
    layer.refresh()


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
