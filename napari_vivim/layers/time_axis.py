"""What the viewer shows of a video: which frame, on the video's own time axis, which layers, and all of the picture.

The steps of napari's slider are those of all layers together. A layer of four axes, of another scale, or one that
begins earlier or ends later than the video, moves them. So neither the number of a step nor the first axis of the
viewer says which frame of the video is on screen.
"""

import inspect
import time
from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_vivim.qt.components import LAID_OUT_MS, single_shot
from napari_vivim.qt.napari_window import main_window, picture_of

FPS = 10.0
"""Speed of a loop where the video does not say its own."""
HIDDEN_KEY = "vivim_hidden"
"""Key in the metadata of a layer that is hidden because another video was chosen."""


def _position(viewer: napari.Viewer, layer: Layer) -> int:
    """Where the slider stands, in frames. It may be before the first or after the last one."""
    return int(np.round(layer.world_to_data(viewer.dims.point)[0]))


def frame_on_screen(viewer: napari.Viewer, layer: Layer) -> int | None:
    """Number of the frame that a layer ``(time, y, x)`` shows.

    None before its first and after its last frame, and while time is an axis of the canvas, as in 3D.
    """
    if viewer.dims.ndim - layer.ndim in viewer.dims.displayed:
        return None
    frame = _position(viewer, layer)
    return frame if 0 <= frame < layer.data.shape[0] else None


def nearest_frame(viewer: napari.Viewer, layer: Layer) -> int:
    """Number of the frame of a layer that is nearest to where the slider stands."""
    return min(max(0, _position(viewer, layer)), layer.data.shape[0] - 1)


def show_frame(viewer: napari.Viewer, layer: Layer, frame: int) -> None:
    """Move the slider so that a layer shows this frame."""
    position = np.array(layer.world_to_data(viewer.dims.point))
    position[0] = frame
    viewer.dims.set_point(viewer.dims.ndim - layer.ndim, layer.data_to_world(position)[0])


def remove_soon(viewer: napari.Viewer, layer: Layer) -> None:
    """Remove a layer once napari has done what it is at, which may be to remove several layers itself."""
    QTimer.singleShot(0, lambda: viewer.layers.remove(layer) if layer in viewer.layers else None)


def show_alone(viewer: napari.Viewer, chosen: Sequence[Layer], others: Sequence[Sequence[Layer]]) -> bool:
    """Show the layers of one video and hide those of others, which would lie over or under them.

    Each video's picture comes first among its layers; the chosen one's is shown in any case. What a person hid before
    stays hidden. The camera stays where it is, unless the pictures differ in size. Returns whether it was moved.
    """
    sizes = {_size(picture) for picture, *_ in others if picture.visible}
    for layer in (layer for video in others for layer in video if layer.visible):
        layer.visible, layer.metadata[HIDDEN_KEY] = False, True
    alone = not sizes and HIDDEN_KEY in chosen[0].metadata  # the other one was closed
    for layer in chosen:
        if layer.metadata.pop(HIDDEN_KEY, False) or layer is chosen[0]:
            layer.visible = True
    moved = alone or bool(sizes - {_size(chosen[0])})
    if moved:
        fit(viewer, chosen[0])
    return moved


def _size(layer: Layer) -> tuple[float, ...]:
    """Height and width in the world."""
    low, high = layer.extent.world
    return tuple((high - low)[-2:].tolist())


def fit(viewer: napari.Viewer, layer: Layer) -> None:
    """Show the whole of a layer, as large as there is room for."""
    if "layers" in inspect.signature(viewer.reset_view).parameters:
        viewer.reset_view(layers=[layer])
    else:  # before napari 0.9, which fits all layers only
        viewer.reset_view()
        low, high = layer.extent.world[:, -2:]
        viewer.camera.center = tuple((low + high) / 2)
        viewer.camera.zoom = 0.95 * float(np.min(viewer._canvas_size / (high - low)))


class Loop(QObject):
    """Plays between two frames of a video again and again, at the video's speed."""

    def __init__(self, viewer: napari.Viewer, layer: Layer, fps: float | None) -> None:
        super().__init__()
        self._viewer, self._layer, self._fps = viewer, layer, fps or FPS
        self._marked: int | None = None
        self._frames, self._began = range(0), 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(max(1, round(1000 / self._fps)))
        self._timer.timeout.connect(self._show_next)

    @property
    def playing(self) -> bool:
        """Whether it has begun, and was not ended."""
        return self._timer.isActive()

    def mark(self) -> None:
        """Begin at the frame on screen, at the second call play as far as the one on screen, at the third end."""
        here = nearest_frame(self._viewer, self._layer)
        if self.playing:
            self.end()
        elif self._marked is None:
            self._marked = here
            show_info(f"Loop from frame {here}. Press again at its last frame.")
        elif self._marked == here:
            self._marked = None
            show_info("No loop.")
        else:
            self._frames = range(min(self._marked, here), max(self._marked, here) + 1)
            self._marked, self._began = None, time.monotonic()
            self._timer.start()

    def end(self) -> None:
        """Stay at the frame on screen. Safe to call at any time."""
        self._timer.stop()

    def _show_next(self) -> None:
        passed = int((time.monotonic() - self._began) * self._fps)
        show_frame(self._viewer, self._layer, self._frames[passed % len(self._frames)])


class Framing(QObject):
    """Keeps the whole of a video in sight while docks come and the window changes, until a person moves the camera."""

    def __init__(self, viewer: napari.Viewer, layer: Layer) -> None:
        super().__init__()
        self._viewer, self._layer = viewer, layer
        self._camera = getattr(viewer, "scene", viewer).camera
        self._timer = single_shot(self, LAID_OUT_MS, self._fit)
        window = main_window(viewer)
        self._picture = picture_of(window)
        self._picture.installEventFilter(self)
        low, high = layer.extent.world[:, -2:]
        centred = np.abs(np.array(self._camera.center[-2:]) - (low + high) / 2) < (high - low) / 100
        smaller = (high - low) * self._camera.zoom < (window.height(), window.width())
        self._fitted: tuple | None = None
        # as napari shows it at first, however little room docks have left since
        if (centred & smaller).all():
            self.note_fit()
            self._timer.start()

    def note_fit(self) -> None:
        """Take the camera as it is for untouched."""
        self._fitted = self._seen()

    def _seen(self) -> tuple:
        return self._camera.zoom, *self._camera.center

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice another size of the picture's place."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._timer.start()
        return False

    def _fit(self) -> None:
        if self._layer.visible and self._viewer.dims.ndisplay == 2 and self._seen() == self._fitted:
            fit(self._viewer, self._layer)
            self.note_fit()

    def close(self) -> None:
        """Leave the camera alone."""
        self._timer.stop()
        self._picture.removeEventFilter(self)
