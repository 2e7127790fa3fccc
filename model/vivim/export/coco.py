"""COCO JSON: a picture for each frame, an annotation for each lesion in it, as run lengths and as polygons."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours

from vivim.export.rle import runs, to_text
from vivim.export.work import Work
from vivim.lesions import Lesion


def write_coco(work: Work, path: Path) -> Generator[int, None, None]:
    """Write the JSON annotation by annotation; yields how many frames are done.

    ``segmentation`` holds packed run lengths, which are exact. ``polygons`` holds the outlines in COCO's convention (x
    before y, pixel 0 reaching from 0 to 1), which leave holes out. ``track_id`` is the lesion's number over time.
    Pictures are named as `vivim.export.dataset` names them; ``frame`` is the frame's number.
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
