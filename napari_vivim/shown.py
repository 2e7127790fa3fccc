"""Of several videos in one viewer, the chosen one is shown."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from napari.layers import Image, Layer

if TYPE_CHECKING:
    from napari_vivim.controller import VideoController


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
            other.put_aside += visible
    for layer in (chosen.layer, *chosen.put_aside):
        layer.visible = True
    chosen.put_aside = []
    if sizes - {_size(chosen.layer)}:
        _fit(chosen)


def _size(video: Image) -> tuple[float, ...]:
    """Height and width in the world."""
    low, high = video.extent.world
    return tuple((high - low)[-2:].tolist())


def _fit(chosen: VideoController) -> None:
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
