"""COCO JSON: a picture for each frame, an annotation for each lesion in it, as run lengths and as polygons."""

import json
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours

from vivim.errors import MasksError
from vivim.imaging.components import Lesion
from vivim.io.formats.shapes import (
    MOST_CLASSES,
    Shape,
    corners,
    filled,
    found_shapes,
    from_runs,
    from_text,
    only_boxes,
    runs,
    stem,
    to_text,
)
from vivim.io.import_source import Found, ReadOptions, frames_of, wrong_size
from vivim.io.mask_source import Work
from vivim.session.ledger import PERSONS


def write_coco(work: Work, path: Path) -> Generator[int, None, None]:
    """Write the JSON annotation by annotation. Yields how many frames are done.

    ``segmentation`` holds packed run lengths, which are exact. ``polygons`` holds the outlines in COCO's convention (x
    before y, pixel 0 reaching from 0 to 1), which leave holes out. ``track_id`` is the lesion's number over time.
    """
    count, categories = 0, work.categories()
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "lesion masks"}, "licenses": [],\n"annotations": [')
        for done, t in enumerate(work.frames, start=1):
            for lesion in work.lesions.of(t):
                count += 1
                categories[lesion.category] = work.category(lesion.category)
                file.write(",\n" if count > 1 else "\n")
                json.dump({"id": count, "image_id": t + 1, **annotation(lesion, work.size)}, file)
            yield done
        file.write('],\n"images": [\n')
        file.write(",\n".join(json.dumps(_image(work, t)) for t in work.frames))
        # every class up to the highest, so that readers that count categories find the same numbers
        named = [
            {"id": value, "name": work.category(value)} for value in range(1, max(categories, default=0) + 1)
        ]
        file.write('],\n"categories": ' + json.dumps(named) + "}\n")


def annotation(lesion: Lesion, size: tuple[int, int]) -> dict[str, Any]:
    """What COCO says of one lesion in a frame of `size` (height, width)."""
    height, width = lesion.image.shape
    return {
        "category_id": lesion.category,
        "track_id": lesion.id,
        "iscrowd": 0,
        "area": lesion.area,
        "bbox": [lesion.left, lesion.top, width, height],
        "segmentation": {"size": list(size), "counts": to_text(runs(lesion.mask(size)))},
        "polygons": [outline(lesion)],
    }


def outline(lesion: Lesion) -> list[float]:
    """Outer outline ``x0, y0, x1, y1, ...`` in pixels, through the middles of the outermost pixels' edges."""
    whole = np.pad(binary_fill_holes(lesion.image), 1).astype(np.uint8)
    points = find_contours(whole, 0.5, fully_connected="high")[0][:-1] - 0.5
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]  # it does not pass straight on
    corners = points[turns] + (lesion.top, lesion.left)
    return corners[:, ::-1].ravel().tolist()


def _image(work: Work, t: int) -> dict[str, Any]:
    height, width = work.size
    return {
        "id": t + 1,
        "file_name": f"{t:06d}.png",
        "height": height,
        "width": width,
        "frame": t,
        "status": work.source.status(t),
    }


FRAME_KEYS = ("frame", "frame_index")
"""Where files say which frame of a video a picture is: this program's, and kwcoco's."""


def find_coco(content: dict[str, Any], shape: tuple[int, int, int], options: ReadOptions) -> Found:
    """Masks of the annotated pictures in the content of a COCO file. Its list of categories gives the classes.

    A picture without an annotation is left alone, unless `options` asks or a person vouched for it in this program.
    """
    images, annotations = content["images"], content["annotations"]
    for image in images:
        size = (image.get("height", shape[1]), image.get("width", shape[2]))
        if size != shape[1:]:
            raise wrong_size(size, shape[1:])
    drawn = _by_picture(images, annotations)
    classes, names = _classes(content.get("categories") or [], annotations)
    frames = _frames(images, shape[0], options)
    shapes = {
        t: [
            Shape(_category(entry), partial(shape_of, entry["segmentation"], shape[1:]))
            for entry in drawn.get(str(image["id"]), ())
        ]
        for t, image in zip(frames, images, strict=True)
        if str(image["id"]) in drawn or options.include_empty or image.get("status") in PERSONS
    }
    return found_shapes(shapes, classes, names, shape, replace(options, include_empty=True))


def _by_picture(images: list[dict], annotations: list[dict]) -> dict[str, list[dict]]:
    """Annotations of each picture that has any, by the picture's id as text."""
    if len({str(image["id"]) for image in images}) < len(images):
        raise MasksError("Two pictures of the file have the same id. Export the masks anew.")
    drawn: dict[str, list[dict]] = {}
    known, boxes = {str(image["id"]) for image in images}, 0
    for entry in annotations:
        if str(entry["image_id"]) not in known:
            raise MasksError(
                f"An annotation is of picture {entry['image_id']!r}, which the file does not list."
            )
        boxes += not entry.get("segmentation")
        drawn.setdefault(str(entry["image_id"]), []).append(entry)
    if boxes:
        raise only_boxes(boxes, len(annotations))
    return drawn


def _frames(images: list[dict], total: int, options: ReadOptions) -> list[int]:
    """Frames of pictures: as the file numbers them where it does, or by name."""
    for key in FRAME_KEYS:
        numbers = [value for image in images if type(value := image.get(key)) is int and 0 <= value < total]
        if numbers and len(set(numbers)) == len(images):
            return numbers
    return frames_of([stem(image["file_name"]) for image in images], total, options)


def _category(entry: dict) -> str:
    """The category of an annotation, as text: some tools write numbers, some write text."""
    value = entry["category_id"]
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise MasksError(
            f"The category {value!r} of an annotation is no number and no name. Export the masks anew."
        )
    return str(value)


def _classes(
    categories: list[dict], annotations: list[dict]
) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """Class 1, 2, ... of each category, in the order of their ids, and the names; by id alone where none are listed."""
    used = {_category(entry) for entry in annotations}
    if not categories:
        wrong = sorted(key for key in used if not key.isdecimal() or not 1 <= int(key) <= MOST_CLASSES)
        if wrong:
            raise MasksError(
                f"The file lists no categories, and {wrong[0]!r} is no class from 1 to {MOST_CLASSES}."
            )
        return {key: int(key) for key in used}, None
    parents = {category.get("supercategory") for category in categories}
    listed = [
        c for c in categories if str(c["id"]) in used or c.get("name") not in parents or len(categories) == 1
    ]
    if all(type(category["id"]) is int for category in listed):
        listed.sort(key=lambda category: category["id"])
    classes = {str(category["id"]): number for number, category in enumerate(listed, start=1)}
    missing = sorted(used - classes.keys())
    if missing:
        raise MasksError(f"An annotation is of category {missing[0]!r}, which the file does not list.")
    if len(classes) < len(listed):
        raise MasksError("Two categories of the file have the same id. Export the masks anew.")
    if len(classes) > MOST_CLASSES:
        raise MasksError(f"There are {len(classes)} categories, more than the {MOST_CLASSES} there can be.")
    names = tuple(str(category.get("name") or category["id"]).strip() for category in listed)
    return classes, names if len(set(names)) == len(names) and all(names) else None


def shape_of(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask ``(H, W)`` of what COCO calls a segmentation. May raise anything if it is none."""
    if isinstance(segmentation, dict) and "counts" in segmentation:
        counts = segmentation["counts"]
        return from_runs(from_text(counts) if isinstance(counts, str) else counts, size)
    mask = np.zeros(size, bool)
    for polygon in [segmentation] if isinstance(segmentation, dict) else segmentation:
        if isinstance(polygon, dict):  # with holes, as kwcoco has it
            inside = filled(corners(polygon["exterior"]), size)
            for hole in polygon.get("interiors", ()):
                inside &= ~filled(corners(hole), size)
            mask |= inside
        else:
            mask |= filled(corners(polygon), size)
    return mask
