"""Show the chosen one of several videos in a viewer."""

import inspect
from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Image, Layer

HIDDEN_KEY = "vivim_hidden"
"""Key in the metadata of a layer that is hidden because another video was chosen."""
NEARLY = 0.85
"""Part of the picture's height and width that is still in sight after docks have opened beside it."""


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
