"""labelme JSON: the shapes of one picture a file, in one file or a folder of them. X-AnyLabeling writes it, too."""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import MasksError
from vivim.io.formats import shapes
from vivim.io.formats.coco import find_coco
from vivim.io.import_source import Found, ReadOptions, frames_of, wrong_size

OUTLINES = ("polygon", "rectangle", "rotation", "oriented_rectangle")
AREAS = (*OUTLINES, "circle", "mask")
MARKS = ("point", "points")
"""Kinds of shapes that mark a place. They are passed over."""
BACKGROUND = {"_background_": 0, "__ignore__": 0}
"""What labelme itself does not take for a class."""


def find_json(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of a JSON file of either kind, labelme or COCO."""
    content = shapes.read_json(path)
    if _is_labelme(content):
        return _found({path: content}, shape, options)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise MasksError(f"{path.name} is neither COCO nor labelme. Export the masks as one of these.")
    return find_coco(content, shape, options)


def find_labelme_folder(
    folder: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions
) -> Found | None:
    """Masks of a folder of labelme files; None if there is none among its JSON files."""
    contents, others = {}, []
    for path in shapes.visible(folder.glob("*.json")):
        try:
            content = shapes.read_json(path)
        except (ValueError, RecursionError, MasksError):
            content = None  # said below, if it lies among files of labelme
        if _is_labelme(content):
            contents[path] = {key: value for key, value in content.items() if key != "imageData"}
        else:
            others.append(path.name)
    if contents and others:
        raise MasksError(
            f"{others[0]} holds no shapes, as the other JSON files in the folder do. Mend it, or move it elsewhere."
        )
    return _found(contents, shape, options) if contents else None


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def _found(
    contents: Mapping[Path, dict[str, Any]], shape: tuple[int, int, int], options: ReadOptions
) -> Found:
    for content in contents.values():
        size = tuple(
            int(content.get(key) or length)
            for key, length in zip(("imageHeight", "imageWidth"), shape[1:], strict=True)
        )
        if size != shape[1:]:
            raise wrong_size(size, shape[1:])
    names = [shapes.stem(content.get("imagePath") or path.name) for path, content in contents.items()]
    drawn = [_shapes(content["shapes"], shape[1:]) for content in contents.values()]
    used = {entry.label for one in drawn for entry in one}
    classes, known = shapes.classes_of(used - BACKGROUND.keys())
    frames = frames_of(names, shape[0], options)
    return shapes.found_shapes(
        dict(zip(frames, drawn, strict=True)), classes | BACKGROUND, known, shape, options
    )


def _shapes(entries: Sequence[dict[str, Any]], size: tuple[int, int]) -> list[shapes.Shape]:
    drawn = []
    for entry in entries:
        kind = entry.get("shape_type") or "polygon"
        if kind in AREAS:
            label = entry.get("label")
            drawn.append(
                shapes.Shape("" if label is None else str(label).strip(), partial(_draw, kind, entry, size))
            )
        elif kind not in MARKS:
            raise shapes.no_area(kind)
    return drawn


def _draw(kind: str, entry: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    points = np.asarray(entry["points"], np.float64).reshape(-1, 2)
    if kind == "mask":
        return _bitmap(entry["mask"], points, size)
    if kind == "circle":
        centre, edge = points
        radius = float(np.hypot(*(edge - centre)))
        return shapes.ellipse(centre.tolist(), (radius, radius), 0, size)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return shapes.filled(shapes.corners(points), size)


def _bitmap(text: str, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A PNG in base64, which fills the box from the first to the last of two corners, both included."""
    left, top, right, bottom = (int(place) for place in points.ravel())
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        if picture.size != (right - left + 1, bottom - top + 1) or picture.size > size[::-1]:
            raise ValueError(f"a mask of {picture.width} x {picture.height} pixels does not fill its box")
        part = np.asarray(picture.convert("L")) > 0
    return shapes.placed(part, left, top, size)
