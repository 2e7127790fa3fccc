"""Which frame of a video the viewer shows, on the video's own time axis.

The steps of napari's slider are those of all layers together. A layer of four axes, of another scale, or one that
begins earlier or ends later than the video, moves them. So neither the number of a step nor the first axis of the
viewer says which frame of the video is on screen.
"""

import inspect
from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Image, Layer

HIDDEN_KEY = "vivim_hidden"
"""Key in the metadata of a layer that is hidden because another video was chosen."""
NEARLY = 0.85
"""Part of the picture's height and width that is still in sight after docks have opened beside it."""


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


def show_alone(viewer: napari.Viewer, chosen: Sequence[Layer], others: Sequence[Sequence[Layer]]) -> None:
    """Show the layers of one video and hide those of others, which would lie over or under them.

    Each video's picture comes first among its layers; the chosen one's is shown in any case. What a person hid before
    stays hidden. The camera stays where it is, unless the pictures differ in size.
    """
    sizes = {_size(picture) for picture, *_ in others if picture.visible}
    for layer in (layer for video in others for layer in video if layer.visible):
        layer.visible, layer.metadata[HIDDEN_KEY] = False, True
    for layer in chosen:
        if layer.metadata.pop(HIDDEN_KEY, False) or layer is chosen[0]:
            layer.visible = True
    if sizes - {_size(chosen[0])}:
        fit(viewer, chosen[0])


def _size(layer: Layer) -> tuple[float, ...]:
    """Height and width in the world."""
    low, high = layer.extent.world
    return tuple((high - low)[-2:].tolist())


def nearly_whole(video: Image) -> bool:
    """Whether a video's picture is in sight, except for a strip that a dock may have covered."""
    low, high = video.corner_pixels[:, 1:3]
    return bool(((high - low + 1) >= NEARLY * np.array(video.data.shape[1:3])).all())


def fit(viewer: napari.Viewer, layer: Layer) -> None:
    """Show the whole of a layer, as large as there is room for."""
    if "layers" in inspect.signature(viewer.reset_view).parameters:
        viewer.reset_view(layers=[layer])
    else:  # before napari 0.9: all layers' extent
        viewer.reset_view()
