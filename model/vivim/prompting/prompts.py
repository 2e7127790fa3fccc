"""Prompts of one frame: what a person has said about it, in pixels of the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Points, box, scribble and mask to start from. Never changed: a step back is the object before."""

    points: tuple[Point, ...] = ()
    """Row and column of each, in pixels. The centre of the first pixel is ``(0, 0)``."""
    point_labels: tuple[int, ...] = ()
    """For each point 1 for lesion, 0 for not."""
    box: Box | None = None
    """``(y0, x0, y1, x1)`` in pixels, inclusive."""
    scribble: NDArray[np.int8] | None = None
    """``(H, W)`` int8: 1 lesion, -1 not, 0 unsaid."""
    mask: NDArray[np.bool_] | None = None
    """``(H, W)``: the mask to start from, nonzero is inside."""

    @classmethod
    def checked(
        cls,
        size: tuple[int, int],
        points: Any = (),
        point_labels: Any = None,
        box: Any = None,
        scribble: Any = None,
        mask: Any = None,
    ) -> Prompts:
        """Make prompts of a picture of `size` (height, width) from what a caller gives, or raise a `ValueError`."""
        places = np.asarray(() if points is None else points, np.float64).reshape(-1, 2)
        labels = np.ones(len(places), int) if point_labels is None else np.asarray(point_labels).reshape(-1)
        if len(labels) != len(places):
            raise ValueError(f"There are {len(places)} points and {len(labels)} labels: give one a point.")
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"Labels of points are 1 (lesion) or 0 (not), not {labels.tolist()}.")
        edge = np.array(size) - 0.5
        if not ((places >= -0.5) & (places < edge)).all():  # also false where one is no number
            raise ValueError(
                f"A point lies outside of the picture, which is {size[1]} wide and {size[0]} high: "
                f"{places.tolist()}. Points are (row, column) in pixels."
            )
        if scribble is not None:
            scribble = _of_size("scribble", scribble, size)
            if not np.isin(scribble, (-1, 0, 1)).all():
                raise ValueError("A scribble holds 1 (lesion), -1 (not) and 0 (unsaid) only.")
            scribble = scribble.astype(np.int8) if scribble.any() else None
        made = cls(
            tuple((float(y), float(x)) for y, x in places),
            tuple(int(label) for label in labels),
            None if box is None else _checked_box(box, size),
            scribble,
            None if mask is None else _of_size("mask", mask, size) > 0,
        )
        if not made.points and made.box is None and made.scribble is None and made.mask is None:
            raise ValueError("Nothing is prompted: give points, a box, a scribble, or a mask to start from.")
        return made

    def with_point(self, y: float, x: float, label: int) -> Prompts:
        """Add a point."""
        return replace(self, points=(*self.points, (y, x)), point_labels=(*self.point_labels, label))

    def without_point(self, number: int) -> Prompts:
        """Leave out the point of this index."""
        return self._with_points([i for i in range(len(self.points)) if i != number % len(self.points)])

    def with_box(self, box: Box | None) -> Prompts:
        """Replace the box, or leave it out."""
        return replace(self, box=box)

    def with_scribble(self, scribble: NDArray[np.int8]) -> Prompts:
        """Draw over what was said before. Points under the stroke count no more."""
        drawn = scribble if self.scribble is None else np.where(scribble != 0, scribble, self.scribble)
        kept = [i for i, point in enumerate(self.points) if not scribble[pixel_of(point)]]
        return replace(self._with_points(kept), scribble=drawn)

    def _with_points(self, kept: list[int]) -> Prompts:
        points = tuple(self.points[i] for i in kept)
        return replace(self, points=points, point_labels=tuple(self.point_labels[i] for i in kept))


def pixel_of(point: Point) -> tuple[int, int]:
    """The pixel that a point lies in."""
    return int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))


def _of_size(name: str, given: Any, size: tuple[int, int]) -> NDArray:
    array = np.asarray(given)
    if array.shape != tuple(size):
        raise ValueError(f"The {name} must have the picture's shape {tuple(size)}, not {array.shape}.")
    return array


def _checked_box(box: Any, size: tuple[int, int]) -> Box:
    sides = np.asarray(box, np.float64).reshape(-1)
    if len(sides) != 4 or not (sides[:2] <= sides[2:]).all():
        raise ValueError(f"A box is (y0, x0, y1, x1) with y0 <= y1 and x0 <= x1, not {box}.")
    if not ((sides >= -0.5).all() and sides[2] < size[0] and sides[3] < size[1]):
        raise ValueError(
            f"The box {box} reaches beyond the picture, which is {size[1]} wide and {size[0]} high."
        )
    return (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3]))
