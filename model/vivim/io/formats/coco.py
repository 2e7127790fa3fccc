"""COCO JSON: a picture for each frame, an annotation for each lesion in it, as run lengths and as polygons."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours

from vivim.errors import MasksError
from vivim.imaging.components import Lesion
from vivim.io.formats.rle import from_runs, from_text, runs, to_text
from vivim.io.import_source import Found, frames_of, wrong_size
from vivim.io.mask_source import Work


def write_coco(work: Work, path: Path) -> Generator[int, None, None]:
    """Write the JSON annotation by annotation. Yields how many frames are done.

    ``segmentation`` holds packed run lengths, which are exact. ``polygons`` holds the outlines in COCO's convention (x
    before y, pixel 0 reaching from 0 to 1), which leave holes out. ``track_id`` is the lesion's number over time.
    Pictures are named as `vivim.io.formats.dataset` names them; ``frame`` is the frame's number.
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
        named = [{"id": value, "name": name} for value, name in sorted(categories.items())]
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
    corners = points[_turns(points)] + (lesion.top, lesion.left)
    return corners[:, ::-1].ravel().tolist()


def _turns(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points of a closed line it does not pass straight on."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]


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


MOST_BYTES = 2**28
"""A larger file does not fit into memory once parsed."""
MOST_CROSSINGS = 2**24
"""An outline that crosses more rows of pixels is none that anybody drew."""
MOST_CLASSES = 255


def find_coco(path: Path, shape: tuple[int, int, int], keep: ExitStack) -> Found:
    """Masks of the pictures of a COCO file. Categories become classes, by number where they are 1 to 255.

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
            raise MasksError(
                f"The category {entry['category_id']!r} is no whole number. Export the masks anew."
            )
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
