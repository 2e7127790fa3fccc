"""Which frame of a video the viewer shows, on the video's own time axis.

The steps of napari's slider are those of all layers together. A layer of four axes, of another scale, or one that
begins earlier or ends later than the video, moves them. So neither the number of a step nor the first axis of the
viewer says which frame of the video is on screen.
"""

import napari
import numpy as np
from napari.layers import Layer


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
