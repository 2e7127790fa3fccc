"""Copies of masks and pictures for napari's own gestures, such as *Duplicate*, *Convert* and *Merge*.

What a gesture makes is a layer of its own. It never shows, or is painted into, the array of an open session.
"""

from typing import Any

import napari
import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_info
from vivim.session import MaskEditor
from vivim.video import LazyFrames
from vivim.video.base import Video

from napari_vivim.layers.masks_layer import MasksLayer
from napari_vivim.qt.notifications import guarded


def add_copy(viewer: napari.Viewer, masks: Labels, data: Any) -> None:
    """Show an array that napari made of a session's masks as a layer of its own, beside them."""
    copied = Labels(
        np.array(data),
        name=f"{masks.name} {np.dtype(data.dtype).name}",
        scale=masks.scale,
        units=masks.units,
        axis_labels=masks.axis_labels,
        colormap=masks.colormap,
    )
    viewer.layers.insert(viewer.layers.index(masks) + 1, copied)
    show_info(f"{copied.name} is a copy. The session's masks stay as they are.")


def part_from_session(event: Any) -> None:
    """Give a layer that napari made over a session's masks, or over a video to paint on, an array of its own."""
    layer = event.value
    data = getattr(layer, "data", None)
    lazy = isinstance(data, LazyFrames) and (isinstance(layer, Labels) or not isinstance(data.video, Video))
    ours = isinstance(layer, MasksLayer) or not getattr(layer, "editable", True)
    if isinstance(layer, Image | Labels) and not ours and (lazy or isinstance(data, MaskEditor)):
        guarded(lambda: setattr(layer, "data", np.asarray(data)))


def shows(layer: Any, video: Video) -> bool:
    """Whether a layer takes its pictures from an open video."""
    data = getattr(layer, "data", None)
    return isinstance(data, LazyFrames) and data.video is video
