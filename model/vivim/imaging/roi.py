"""The part of the picture that models work on, such as an ultrasound sector. Masks are always of the whole picture.

An area is ``(y0, x0, y1, x1)`` in pixels, `y1` and `x1` not part of it. None is the whole picture. NumPy only.
"""

import numpy as np
from numpy.typing import NDArray

Area = tuple[int, int, int, int]

MIN_SIDE = 16
"""Sides of an area are at least this long, in pixels, or as long as the picture's."""


def check_area(area: Area, size: tuple[int, int]) -> Area | None:
    """Return an area of a picture of `size`, None if it is the whole, or raise a `ValueError` if it does not fit."""
    y0, x0, y1, x1 = (int(side) for side in area)
    height, width = size
    if (y0, x0, y1, x1) == (0, 0, height, width):
        return None
    if not (y0 >= 0 and x0 >= 0 and y1 <= height and x1 <= width):
        raise ValueError(
            f"The area {y0},{x0},{y1},{x1} reaches beyond the picture, which is {width} wide and {height} high. Give "
            "top, left, bottom and right in pixels."
        )
    if y1 - y0 < min(MIN_SIDE, height) or x1 - x0 < min(MIN_SIDE, width):
        raise ValueError(
            f"The area {y0},{x0},{y1},{x1} is smaller than {MIN_SIDE} pixels. Give a larger one."
        )
    return y0, x0, y1, x1


def crop(picture: NDArray, area: Area | None) -> NDArray:
    """Return a view of the area of a frame or mask ``(H, W, ...)``."""
    return picture if area is None else picture[area[0] : area[2], area[1] : area[3]]


def size_of(area: Area | None, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an area of a picture of `size`."""
    return size if area is None else (area[2] - area[0], area[3] - area[1])


def uncrop(masks: NDArray[np.uint8], area: Area | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Put masks ``(..., h, w)`` of an area into empty masks of the whole picture ``(..., *size)``."""
    if area is None:
        return masks
    whole = np.zeros((*masks.shape[:-2], *size), np.uint8)
    whole[..., area[0] : area[2], area[1] : area[3]] = masks
    return whole
