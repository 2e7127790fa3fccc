"""The layer that shows a session's masks and is painted on.

What napari's own gestures make of it, such as *Duplicate*, *Convert* and *Merge*, is a layer of its own. It never
shows, or is painted into, the array of an open session.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import cv2
import napari
import numpy as np
from napari.layers import Image, Labels
from napari.utils import DirectLabelColormap
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from vispy.visuals.line.dash_atlas import DashAtlas
from vivim.session import MaskEditor, Session
from vivim.settings import Settings
from vivim.video import LazyFrames
from vivim.video.base import Video

from napari_vivim.qt.notifications import guarded

MOST_LABELS = 255
CONTOUR = 256
"""An outline is as wide as this part of the picture's shorter side."""
BRUSH = 24
"""The brush is at first as wide as this part of the picture's shorter side."""


class MasksLayer(Labels):
    """A Labels layer whose data are a session's masks, always.

    `on_replaced` is called with an array that was assigned to `data`, as napari does to convert them.
    """

    _type_string = "labels"  # napari would take it from the name of the class

    def __init__(self, editor: MaskEditor, on_replaced: Callable[[Any], object], **options: Any) -> None:
        self._on_replaced, self._fill = on_replaced, 1.0
        super().__init__(editor, **options)

    @property
    def data(self) -> MaskEditor:
        """The session's masks."""
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._on_replaced(data)

    def restyle(self, settings: Settings) -> None:
        """Take the colours and the opacity of filled masks that the settings say."""
        looks = appearance(settings)
        self.colormap, self._fill = looks["colormap"], looks["opacity"]
        self.opacity = 1.0 if self.contour else self._fill

    def outline(self, wanted: bool) -> None:
        """Show masks as outlines, or filled."""
        self.contour = max(1, round(min(self.data.shape[1:]) / CONTOUR)) if wanted else 0
        self.opacity = 1.0 if wanted else self._fill

    def _calculate_contour(self, labels: NDArray[Any], data_slice: tuple[slice, ...]) -> NDArray[Any] | None:
        """Outlines as napari draws them, to the pixel. At 1280 x 720 SciPy takes 38 ms for it, OpenCV 1.4."""
        if self.contour < 1 or labels.ndim != 2 or labels.dtype != np.uint8:
            return super()._calculate_contour(labels, data_slice)
        rows, columns = (
            slice(max(0, part.start - self.contour), part.stop + self.contour) for part in data_slice
        )
        around = labels[rows, columns].copy()
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        inner = cv2.dilate(around, cross) == cv2.erode(around, cross, iterations=self.contour)
        around[inner] = self.colormap.background_value
        top, left = data_slice[0].start - rows.start, data_slice[1].start - columns.start
        height, width = (part.stop - part.start for part in data_slice)
        return around[top : top + height, left : left + width]

    def _is_frame(self, point: Sequence[float]) -> bool:
        """Whether a point lies in a frame. napari takes a time before the first one for a time before the last."""
        return 0 <= round(float(point[0])) < len(self._data)

    def paint(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Paint with the brush. Outside of the video's frames nothing is painted."""
        if self._is_frame(coord):
            super().paint(coord, new_label, refresh)

    def fill(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Fill with the bucket. Outside of the video's frames nothing is filled."""
        if self._is_frame(coord):
            super().fill(coord, new_label, refresh)

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Paint a polygon. Outside of the video's frames nothing is painted."""
        if self._is_frame(points[0]):
            points = np.array(points, float)
            # napari cuts them off, and would paint into the frame before
            points[:, 0] = np.round(points[:, 0])
            super().paint_polygon(points, new_label)


def masks_layer(
    session: Session,
    editor: MaskEditor,
    video: Image,
    settings: Settings,
    on_replaced: Callable[[Any], object],
) -> MasksLayer:
    """A layer on top of a video's. Every stroke on it goes through `editor` to the session.

    The session takes strokes back, because it knows their place among accepting, copying and the rest. The layer's own
    history is cleared after each stroke. `on_replaced` as for `MasksLayer`.
    """
    masks = MasksLayer(
        editor,
        on_replaced,
        name=f"{video.name} masks",
        scale=video.scale[:3],
        units=video.units[:3],
        axis_labels=video.axis_labels[:3],
        features=class_features(session.classes),
        **appearance(settings),
    )
    masks.restyle(settings)
    masks.outline(settings.masks_as == "outlines")
    masks.brush_size = max(4, round(min(session.shape[1:]) / BRUSH))

    def end_stroke(event: object) -> None:
        session.end_step()
        masks._reset_history()

    masks.events.paint.connect(end_stroke)
    return masks


def cycle_looks(masks: MasksLayer | None) -> None:
    """Show masks that are outlined filled, those that are filled not at all, and hidden ones outlined."""
    if masks is not None:
        filled = masks.visible and not masks.contour
        masks.outline(not masks.visible)
        masks.visible = not filled


@cache
def warm_up_masks_layer() -> None:
    """Make a layer that nobody sees, in any thread.

    The first one of a process imports and compiles for about a second. So does VisPy's atlas of dashed lines, which it
    needs before it draws its first line.
    """
    DashAtlas()
    Labels(np.zeros((1, 1, 1), np.uint8), features=class_features(("lesion",)), **appearance(Settings()))


def class_colormap(colors: Sequence[str]) -> DirectLabelColormap:
    """One colour a class, the same in every window. Further classes begin again with the first."""
    by_label: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for label in range(1, MOST_LABELS + 1):
        by_label[label] = colors[(label - 1) % len(colors)]
    return DirectLabelColormap(color_dict=by_label)


def appearance(settings: Settings) -> dict[str, Any]:
    """Colours and opacity of a masks layer, as the settings want them."""
    return {"colormap": class_colormap(settings.colors()), "opacity": settings.opacity / 100}


def class_features(names: Sequence[str]) -> dict[str, list]:
    """A table that lets napari's status bar name the class under the pointer."""
    return {"index": list(range(len(names) + 1)), "class": ["background", *names]}


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
