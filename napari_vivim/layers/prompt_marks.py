"""What is prompted on the frame on screen, and the outline that came of it: two layers on top of a video's masks."""

from collections.abc import Sequence

import napari
import numpy as np
from napari.layers import Labels, Layer, Shapes
from napari.utils import DirectLabelColormap
from numpy.typing import NDArray
from vivim.prompting.prompts import Prompts

from napari_vivim.layers.time_axis import remove_soon

LESION, OTHER, OUTLINE = "#2bff88", "#ff4b4b", "#ffffff"
"""Colours of what is said to be lesion, of what is said not to be, and of the outline."""
MARK = 110
"""The shorter side of the picture is so many times as long as the radius of a point's mark."""


class PromptMarks:
    """Draws prompts and the mask they led to, while a person prompts. The layer of masks stays selected."""

    def __init__(self, viewer: napari.Viewer, masks: Labels) -> None:
        self._viewer, self._masks = viewer, masks
        place = {
            "scale": masks.scale[1:],
            "units": masks.units[1:],
            "axis_labels": masks.axis_labels[1:],
        }
        self._resting: list[tuple[NDArray, str, str]] = []
        self._shape = masks.data.shape[1:]
        side = min(self._shape)
        self._radius, self._width = max(1.5, side / MARK), max(1.0, side / 300)
        self._outline = Labels(
            np.zeros(self._shape, np.uint8),
            name=f"{masks.name} prompted",
            colormap=DirectLabelColormap(color_dict={None: "transparent", 1: OUTLINE}),
            opacity=1.0,
            **place,
        )
        self._outline.contour = max(1, round(side / 240))
        self._outline.editable = False
        self._shapes = Shapes(ndim=2, name=f"{masks.name} prompts", opacity=1.0, **place)
        for layer in self.layers:
            viewer.add_layer(layer)
        viewer.layers.selection.active = masks

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are drawn on."""
        return self._outline, self._shapes

    def show(self, prompts: Prompts | None, mask: NDArray[np.bool_] | None) -> None:
        """Draw prompts and the outline of a mask ``(H, W)``. None draws nothing."""
        self._outline.data = np.zeros(self._shape, np.uint8) if mask is None else mask.astype(np.uint8)
        found: list[tuple[NDArray, str, str]] = []
        if prompts is not None:
            if prompts.scribble is not None:
                found += _dots(prompts.scribble, self._radius / 2)
            if prompts.box is not None:
                found.append((_corners(prompts.box), "rectangle", LESION))
            for place, label in zip(prompts.points, prompts.point_labels, strict=True):
                found.append((_around(place, self._radius), "ellipse", LESION if label else OTHER))
        self._draw(found)

    def show_drag(self, path: Sequence[tuple[float, float]], scribble: bool, lesion: bool) -> None:
        """Draw the box or the stroke of a drag that is under way, on top of what is there."""
        color = LESION if lesion else OTHER
        if scribble:
            shape = np.array(path, float), "path", color
        else:
            places = np.array(path, float)
            shape = _corners((*places.min(axis=0), *places.max(axis=0))), "rectangle", color
        self._draw([*self._resting, shape], keep=False)

    def close(self) -> None:
        """Take the layers away. Safe to call twice."""
        for layer in self.layers:
            remove_soon(self._viewer, layer)

    def _draw(self, shapes: list[tuple[NDArray, str, str]], keep: bool = True) -> None:
        """Draw shapes instead of those before. With `keep`, they come back after a drag."""
        if keep:
            self._resting = shapes
        with self._shapes.events.data.blocker():
            self._shapes.data = []
            if shapes:
                self._shapes.add(
                    [corners for corners, _, _ in shapes],
                    shape_type=[kind for _, kind, _ in shapes],
                    edge_color=[color for _, _, color in shapes],
                    face_color=[color if kind == "ellipse" else "transparent" for _, kind, color in shapes],
                    edge_width=self._width,
                )
        self._shapes.selected_data = set()


def _around(place: tuple[float, float], radius: float) -> NDArray:
    y, x = place
    return _corners((y - radius, x - radius, y + radius, x + radius))


def _corners(box: Sequence[float]) -> NDArray:
    y0, x0, y1, x1 = box
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)


def _dots(scribble: NDArray[np.int8], radius: float) -> list[tuple[NDArray, str, str]]:
    """Some dots along a stroke, which show where it was without a shape for every pixel."""
    found = []
    for value, color in ((1, LESION), (-1, OTHER)):
        places = np.argwhere(scribble == value)
        for y, x in places[:: max(1, len(places) // 24)]:
            found.append((_around((y, x), radius), "ellipse", color))
    return found
