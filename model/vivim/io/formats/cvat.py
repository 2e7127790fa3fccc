"""CVAT XML 1.1, for video (tracks) and for images."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.io.formats import shapes
from vivim.io.formats.shapes import from_runs
from vivim.io.import_source import Found, ReadOptions, frames_of, wrong_size

AREAS, MARKS, BOX = ("polygon", "mask", "ellipse"), ("points", "tag", "attribute"), "box"
"""Elements that are drawn; those that mark a place or a picture, and are passed over; and boxes."""
Element = ElementTree.Element


class _Plain(ElementTree.TreeBuilder):
    """Builds no document that defines its own entities: some unpack to gigabytes or name other files."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse a document type. CVAT writes none."""
        raise MasksError(
            "The XML file has a document type, which CVAT does not write. Export the masks anew."
        )


def find_cvat(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of CVAT's polygons, masks and ellipses, those with a higher ``z_order`` above.

    Of a track counts what the file lists, interpolated frames as well as key frames, unless it is ``outside``.
    """
    shapes.check_length(path)
    with path.open("rb") as file:
        root = ElementTree.parse(file, ElementTree.XMLParser(target=_Plain())).getroot()
    if root.tag != "annotations":
        raise MasksError(
            f"{path.name} is no XML of CVAT. Export as “CVAT for video 1.1” or “CVAT for images 1.1”."
        )
    images, tracks = root.findall("image"), root.findall("track")
    sizes = [(image.get("height"), image.get("width")) for image in images]
    sizes += [(size.findtext("height"), size.findtext("width")) for size in root.iter("original_size")]
    for height, width in sizes:
        size = (int(height or shape[1]), int(width or shape[2]))
        if size != shape[1:]:
            raise wrong_size(size, shape[1:])
    if tracks and len(root.findall("meta/project/tasks/task")) > 1:
        raise MasksError(
            f"{path.name} holds several tasks, whose frames are counted on. Export the task of this video alone."
        )
    names = [shapes.stem(image.attrib["name"]) for image in images]
    numbers = frames_of(names, shape[0], options) if images else []
    listed = [
        (t, image, entry) for t, image in zip(numbers, images, strict=True) for entry in (None, *image)
    ] + [(int(entry.attrib["frame"]), track, entry) for track in tracks for entry in track]
    drawn = _by_frame(listed, shape)
    labels = [(label.text or "").strip() for label in root.iterfind(".//labels/label/name")]
    classes, known = shapes.classes_of({entry.label for one in drawn.values() for entry in one}, labels)
    return shapes.found_shapes(drawn, classes, known, shape, options)


def _by_frame(
    listed: Iterable[tuple[int, Element, Element | None]], shape: tuple[int, int, int]
) -> dict[int, list[shapes.Shape]]:
    """Shapes of each frame that is listed. Each entry comes with its picture or track, which may have its label."""
    layers: dict[int, list[tuple[int, shapes.Shape]]] = {}
    boxes = total = 0
    for t, parent, entry in listed:
        if entry is None or entry.get("outside") == "1" or entry.tag in MARKS:
            if t < shape[0]:  # where a track ends, CVAT writes one frame more
                layers.setdefault(t, [])
            continue
        total, boxes = total + 1, boxes + (entry.tag == BOX)
        if entry.tag not in (*AREAS, BOX):
            raise shapes.no_area(entry.tag)
        label = (entry.get("label") or parent.get("label") or "").strip()
        layer = (int(entry.get("z_order") or 0), shapes.Shape(label, partial(_draw, entry, shape[1:])))
        layers.setdefault(t, []).append(layer)
    if boxes:
        raise shapes.only_boxes(boxes, total)
    return {t: [shape for _, shape in sorted(one, key=lambda layer: layer[0])] for t, one in layers.items()}


def _draw(entry: Element, size: tuple[int, int]) -> NDArray[np.bool_]:
    said = entry.attrib
    if entry.tag == "polygon":
        return shapes.filled(
            shapes.corners([corner.split(",") for corner in said["points"].split(";")]), size
        )
    if entry.tag == "ellipse":
        centre, radii = (float(said["cx"]), float(said["cy"])), (float(said["rx"]), float(said["ry"]))
        return shapes.ellipse(centre, radii, float(said.get("rotation") or 0), size)
    left, top, width, height = (int(float(said[key])) for key in ("left", "top", "width", "height"))
    if not (0 < width <= size[1] and 0 < height <= size[0]):
        raise ValueError(f"a mask of {width} x {height} pixels is none of this video")
    lengths: Any = [int(length) for length in said["rle"].split(",")]
    return shapes.placed(from_runs(lengths, (width, height)).T, left, top, size)
