"""Of several videos in one viewer, the chosen one is shown."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer

if TYPE_CHECKING:
    from napari_vivim.controller.video_controller import VideoController

NEARLY = 0.85
"""Part of the picture's height and width that is still in sight after docks have opened beside it."""


def show_alone(chosen: VideoController, others: dict[Image, VideoController | None]) -> None:
    """Show a video and hide others, which would lie over or under it, with what belongs to them.

    What a person hid before stays hidden. The camera stays where it is, unless the pictures differ in size.

    Parameters
    ----------
    chosen : VideoController
        Its own layers are as they were before another video was chosen; the picture is shown in any case.
    others : dict
        The other videos' layers, with their controllers as far as they have one.
    """
    sizes = {_size(video) for video in others if video.visible}
    for video, other in others.items():
        visible = [layer for layer in _layers(video, other) if layer.visible]
        for layer in visible:
            layer.visible = False
        if other is not None:
            other.hide_others += visible
    for layer in (chosen.layer, *chosen.hide_others):
        layer.visible = True
    chosen.hide_others = []
    if sizes - {_size(chosen.layer)}:
        fit(chosen)


def _size(video: Image) -> tuple[float, ...]:
    """Height and width in the world."""
    low, high = video.extent.world
    return tuple((high - low)[-2:].tolist())


def nearly_whole(video: Image) -> bool:
    """Whether all of a video's picture is in sight, but for a strip that a dock may have covered."""
    low, high = video.corner_pixels[:, 1:3]
    return bool(((high - low + 1) >= NEARLY * np.array(video.data.shape[1:3])).all())


def fit(chosen: VideoController) -> None:
    """Show the whole picture of a video, as large as there is room for."""
    reset = chosen.viewer.reset_view
    if "layers" in inspect.signature(reset).parameters:
        reset(layers=[chosen.layer])
    else:  # before napari 0.9: all layers' extent
        reset()


def _layers(video: Image, controller: VideoController | None) -> list[Layer]:
    if controller is None:
        return [video]
    lesions = controller.lesions.layer if controller.lesions is not None else None
    return [layer for layer in (video, controller.masks, lesions) if layer is not None]
