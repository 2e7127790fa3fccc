"""Shapes of annotation files, drawn into masks: what the readers of COCO, labelme, CVAT and YOLO share.

A pixel belongs to a shape if its middle does. Pixel 0 reaches from 0 to 1, as in COCO. Run lengths are COCO's too: down
the columns, first the zeros, as numbers or packed into text. That text holds, for each number from the third on its
difference to the one two before, in groups of five bits from the lowest, each with a sixth bit that says whether more
follow, each as the character of code 48 and up. Source: the format of the COCO API (``maskApi``).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.io.import_source import Found, ReadOptions
from vivim.video.readers.image_folder import natural_key

MOST_BYTES = 2**28
"""A larger file does not fit into memory once parsed."""
MOST_CROSSINGS = 2**24
"""An outline that crosses more rows of pixels is none that anybody drew."""
MOST_CLASSES = 255


@dataclass(frozen=True)
class Shape:
    """One shape of a frame: its label, and a function that draws it as a mask ``(H, W)``."""

    label: str
    draw: Callable[[], NDArray[np.bool_]]


def found_shapes(
    shapes: Mapping[int, Sequence[Shape]],
    classes: Mapping[str, int],
    names: tuple[str, ...] | None,
    shape: tuple[int, int, int],
    options: ReadOptions,
) -> Found:
    """Masks of the frames that have shapes, the later ones above. Others are left alone, unless `options` asks."""
    frames = sorted(t for t, drawn in shapes.items() if drawn or options.include_empty)
    if not frames:
        raise MasksError(
            "Nothing is drawn in these masks. Frames without a lesion come in with --include-empty."
        )
    if frames[0] < 0 or frames[-1] >= shape[0]:
        wrong = frames[0] if frames[0] < 0 else frames[-1]
        raise MasksError(f"There is a mask of frame {wrong}, but the video's frames are 0 to {shape[0] - 1}.")

    def read(i: int) -> NDArray:
        mask = np.zeros(shape[1:], np.uint8)
        for entry in shapes[frames[i]]:
            try:
                mask[entry.draw()] = classes[entry.label]
            except Exception as error:  # a damaged shape fails in any way
                raise MasksError(
                    f"An annotation of frame {frames[i]} cannot be drawn ({error or type(error).__name__}). "
                    "Mend or remove it."
                ) from error
        if shapes[frames[i]] and not mask.any():
            raise MasksError(
                f"The annotations of frame {frames[i]} cover no pixel of the picture. Mend or remove them."
            )
        return mask

    return Found(frames, read, classes=names, are_classes=True)


def classes_of(used: Iterable[str], listed: Sequence[str] = ()) -> tuple[dict[str, int], tuple[str, ...]]:
    """Class 1, 2, ... of each label and their names: as the file lists them, else in the order of their names."""
    names = tuple(dict.fromkeys(listed)) or tuple(sorted(set(used), key=natural_key))
    missing = sorted(set(used) - set(names))
    if missing:
        raise MasksError(f"An annotation has the label {missing[0]!r}, which the file does not list.")
    if not all(names):
        raise MasksError("An annotation has no label. Give it one.")
    if len(names) > MOST_CLASSES:
        raise MasksError(f"There are {len(names)} labels, more than the {MOST_CLASSES} classes there can be.")
    return {name: number for number, name in enumerate(names, start=1)}, names


def only_boxes(boxes: int, total: int) -> MasksError:
    """Say that annotations are no masks."""
    return MasksError(
        f"{boxes} of {total} annotations have no outline, only a box at most. A box is no mask: export outlines or run "
        "lengths."
    )


def no_area(kind: str) -> MasksError:
    """Say that a shape of some kind is no mask."""
    return MasksError(
        f"There is a shape of the kind {kind!r}, which covers no area. Draw outlines or masks instead."
    )


def read_json(path: Path) -> Any:
    """Content of a JSON file that is not too large. May raise `ValueError` or `RecursionError`."""
    check_length(path)
    return json.loads(path.read_text(encoding="utf-8-sig"))


def check_length(path: Path) -> None:
    """Refuse a file that would not fit into memory."""
    if path.stat().st_size > MOST_BYTES:
        raise MasksError(f"{path.name} is larger than {MOST_BYTES >> 20} MB. Split it by frames.")


def stem(name: str) -> str:
    """Name of a picture without its folders and ending, whatever system wrote it."""
    return PurePosixPath(unquote(name).replace("\\", "/")).stem


def visible(paths: Iterable[Path]) -> list[Path]:
    """Files that are not hidden, in the order of their names."""
    return sorted(
        (path for path in paths if not path.name.startswith(".") and path.is_file()),
        key=lambda path: natural_key(path.name),
    )


def corners(polygon: Any) -> NDArray[np.float64]:
    """Corners ``(N, 2)`` of an outline, x before y."""
    points = np.asarray(polygon, np.float64).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError("an outline has fewer than three corners")
    return points


def placed(part: NDArray, left: int, top: int, size: tuple[int, int]) -> NDArray:
    """A mask ``(H, W)`` that holds a smaller one, what lies outside cut off."""
    mask = np.zeros(size, part.dtype)
    inside = part[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    y, x = max(top, 0), max(left, 0)
    mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return mask


def ellipse(
    centre: Sequence[float], radii: Sequence[float], degrees: float, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Pixels ``(H, W)`` of an ellipse, x before y, turned clockwise as it is seen."""
    if not np.isfinite([*centre, *radii, degrees]).all() or min(radii) <= 0:
        raise ValueError("an ellipse has no size")
    y, x = np.ogrid[: size[0], : size[1]]
    dx, dy, angle = x + 0.5 - centre[0], y + 0.5 - centre[1], np.deg2rad(degrees)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def filled(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels ``(H, W)`` whose middle lies within a polygon ``(N, 2)``, x before y, by the even-odd rule."""
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


BITS, MORE, FIRST = 5, 32, 48
NEGATIVE = 16
"""Sign bit of the last group of a number."""
MOST_GROUPS = 7
"""Groups of a number below 2**32."""


def runs(mask: NDArray) -> list[int]:
    """Lengths of the runs of zeros and ones, in turn, of a mask ``(H, W)`` read down its columns."""
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def from_runs(lengths: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask ``(H, W)`` of some runs. Raises `ValueError` if they do not fill a mask of this size."""
    numbers = np.asarray(lengths, np.int64)
    if numbers.ndim != 1 or numbers.min(initial=0) < 0 or int(numbers.sum()) != size[0] * size[1]:
        raise ValueError(f"the runs of a mask do not fill {size[0]} x {size[1]} pixels")
    return np.repeat(np.arange(len(numbers)) % 2 == 1, numbers).reshape(size, order="F")


def to_text(lengths: Sequence[int]) -> str:
    """Runs packed into text."""
    text = []
    for i, length in enumerate(lengths):
        value = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            group, value = value & (MORE - 1), value >> BITS
            more = value != (-1 if group & NEGATIVE else 0)
            text.append(chr((group | MORE if more else group) + FIRST))
    return "".join(text)


def from_text(text: str) -> list[int]:
    """Runs that were packed into text. Raises `ValueError` if it holds no runs."""
    lengths: list[int] = []
    value = groups = 0
    for character in text:
        group = ord(character) - FIRST
        if not 0 <= group < 2 * MORE or groups == MOST_GROUPS:
            raise ValueError("the packed runs of a mask are damaged")
        value |= (group & (MORE - 1)) << (BITS * groups)
        groups += 1
        if group & MORE:
            continue
        if group & NEGATIVE:
            value -= 1 << (BITS * groups)
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = groups = 0
    if groups:
        raise ValueError("the packed runs of a mask end in the middle")
    return lengths
