"""Between controllers and a viewer: which layers are videos, and the Labels layer that shows a session's masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

if TYPE_CHECKING:
    from napari import Viewer

    from napari_vivim.controller import Controller

KEY = "vivim_controller"
COLOURS = {None: (0.0, 0.0, 0.0, 0.0), 0: (0.0, 0.0, 0.0, 0.0), 1: (0.16, 0.85, 0.83, 1.0)}


def video_layers(viewer: Viewer) -> list[Image]:
    """Image layers that were opened from a video."""
    return [layer for layer in viewer.layers if isinstance(layer, Image) and "vivim_path" in layer.metadata]


def video_path(layer: Image) -> Path:
    """The video a layer was opened from."""
    return Path(layer.metadata["vivim_path"])


def controller_of(layer: Image | None) -> Controller | None:
    """The controller of a video layer, if its session is open."""
    controller = layer.metadata.get(KEY) if layer is not None else None
    return None if controller is None or controller.closed else controller


def masks_layer(viewer: Viewer, controller: Controller) -> Labels | None:
    """The Labels layer that shows a controller's masks."""
    for layer in viewer.layers:
        if isinstance(layer, Labels) and layer.metadata.get(KEY) is controller:
            return layer
    return None


def attach(viewer: Viewer, video: Image, controller: Controller) -> Labels:
    """Show a session's masks over its video; removing either layer closes the session."""
    video.metadata[KEY] = controller
    masks = Labels(
        controller.masks,
        name=f"Masks of {video.name}",
        opacity=0.5,
        scale=video.scale,
        axis_labels=video.axis_labels,
        units=video.units,
        colormap=DirectLabelColormap(color_dict=COLOURS),
        metadata={KEY: controller},
    )
    viewer.add_layer(masks)

    def close_with(event: Any) -> None:
        if event.value is masks or event.value is video:
            viewer.layers.events.removed.disconnect(close_with)
            video.metadata.pop(KEY, None)
            controller.close()
            if event.value is video and masks in viewer.layers:
                viewer.layers.remove(masks)

    viewer.layers.events.removed.connect(close_with)
    return masks


def shown_frame(viewer: Viewer) -> int:
    """The frame on screen."""
    return int(viewer.dims.current_step[0]) if viewer.dims.ndim >= 3 else 0


def show_frame(viewer: Viewer, t: int) -> None:
    """Go to a frame."""
    viewer.dims.set_current_step(0, t)
