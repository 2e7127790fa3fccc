"""Masks as COCO JSON: run lengths, packed or not, or polygons."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.export.rle import from_runs, from_text
from vivim.imports.found import Found, frames_of, wrong_size

MOST_BYTES = 2**28
"""A larger file does not fit into memory once parsed."""
MOST_CROSSINGS = 2**24
"""An outline that crosses more rows of pixels is none that anybody drew."""
MOST_CLASSES = 255


def find_coco(path: Path, shape: tuple[int, int, int], keep: ExitStack) -> Found:
    """Masks of the pictures of a COCO file; categories become classes, by number where they are 1 to 255.

    Nothing is left open in `keep`.

    Raises
    ------
    MasksError
        If it does not fit a video of `shape`.
    """
    if path.stat().st_size > MOST_BYTES:
        raise MasksError(f"{path.name} is larger than {MOST_BYTES >> 20} MB. Split it by frames.")
    content = json.loads(path.read_text(encoding="utf-8"))
    images, annotations = content["images"], content["annotations"]
    for image in images:
        if (image["height"], image["width"]) != shape[1:]:
            raise wrong_size((image["height"], image["width"]), shape[1:])
    classes = _classes(annotations)
    drawn: defaultdict[Any, list[dict]] = defaultdict(list)
    for entry in annotations:
        drawn[entry["image_id"]].append(entry)

    def read(i: int) -> NDArray:
        mask = np.zeros(shape[1:], np.uint8)
        for entry in drawn[images[i]["id"]]:
            mask[shape_of(entry["segmentation"], shape[1:])] = classes[entry["category_id"]]
        return mask

    return Found(_frames(images, shape[0]), read)


def _frames(images: list[dict], total: int) -> list[int]:
    """Frames of pictures: by ``frame`` where all have one, or by name."""
    frames = [image.get("frame") for image in images]
    numbers = [frame for frame in frames if isinstance(frame, int) and 0 <= frame < total]
    if numbers and len(set(numbers)) == len(images):
        return numbers
    return frames_of([Path(image["file_name"]).stem for image in images], total)


def _classes(annotations: list[dict]) -> dict[int, int]:
    for entry in annotations:
        if type(entry["category_id"]) is not int:
            raise MasksError(f"The category {entry['category_id']!r} is no whole number. Export the masks anew.")
    ids = sorted({entry["category_id"] for entry in annotations})
    if len(ids) > MOST_CLASSES:
        raise MasksError(f"There are {len(ids)} categories, more than the {MOST_CLASSES} there can be.")
    fit = all(1 <= number <= MOST_CLASSES for number in ids)
    return {number: number if fit else rank for rank, number in enumerate(ids, start=1)}


def shape_of(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask ``(H, W)`` of what COCO calls a segmentation.

    Raises
    ------
    ValueError, TypeError, KeyError
        If it is none.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        return from_runs(from_text(counts) if isinstance(counts, str) else counts, size)
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        mask |= filled(np.asarray(polygon, np.float64).reshape(-1, 2), size)
    return mask


def filled(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels ``(H, W)`` whose middle lies within a polygon ``(N, 2)``, x before y, by the even-odd rule.

    Raises
    ------
    ValueError
        If it has coordinates that are no numbers, or far too many of them.
    """
    if not np.isfinite(points).all():
        raise ValueError("an outline has coordinates that are no numbers")
    (x0, y0), (x1, y1) = points.T, np.roll(points, -1, axis=0).T
    first, last = (
        np.clip(np.ceil(choose(y0, y1) - 0.5), 0, size[0]).astype(int) for choose in (np.minimum, np.maximum)
    )
    counts = np.maximum(last - first, 0)
    if counts.sum() > MOST_CROSSINGS:
        raise ValueError("an outline is too long")
    edge = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    x = x0[edge] + (rows + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    crossings = np.zeros((size[0], size[1] + 1), np.int64)
    np.add.at(crossings, (rows, np.clip(np.ceil(x - 0.5), 0, size[1]).astype(int)), 1)
    return np.cumsum(crossings, axis=1)[:, : size[1]] % 2 == 1
