"""What a person may do to a whole mask at once: smooth it, fill its holes, grow it, mix its neighbours.

Masks are uint8 ``(H, W)``, 0 for background, other numbers for classes; every function returns a new one of the same
kind and keeps classes apart: where two would claim a pixel, the one that had it keeps it, else the higher number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import disk

Mask = NDArray[np.uint8]
_SMOOTHING = 2.0  # pixels; detail smaller than that goes


def smooth(mask: Mask) -> Mask:
    """Outlines without their small dents and bumps: where a Gaussian of 2 pixels leaves more than half."""
    return _each(mask, lambda inside: ndimage.gaussian_filter(inside.astype(np.float32), _SMOOTHING) > 0.5)


def fill_holes(mask: Mask) -> Mask:
    """Background enclosed by one class becomes that class."""
    return _each(mask, ndimage.binary_fill_holes)


def keep_largest(mask: Mask) -> Mask:
    """Of each class only the largest connected piece, pixels touching at corners counted as connected."""
    return _each(mask, _largest)


def grow(mask: Mask) -> Mask:
    """One pixel more all around, over background only."""
    return _each(mask, lambda inside: ndimage.binary_dilation(inside, disk(1)))


def shrink(mask: Mask) -> Mask:
    """One pixel less all around; the picture's edge counts as inside."""
    return _each(mask, lambda inside: ndimage.binary_erosion(inside, disk(1), border_value=1))


def relabel(mask: Mask, row: int, column: int, number: int) -> Mask:
    """The connected piece at a pixel becomes class `number`; nothing changes where there is background."""
    out = mask.copy()
    if mask[row, column]:
        pieces = label(mask == mask[row, column], connectivity=2)
        out[pieces == pieces[row, column]] = number
    return out


def _around(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box around a mask that is not empty, with a pixel of background where there is one.

    Outside of it both distances are negative, and no pixel's nearest outline lies farther away.
    """
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _largest(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces = label(inside, connectivity=2)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def _each(mask: Mask, change: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]) -> Mask:
    """Apply a change to every class by itself, within the part of the picture it can reach."""
    out = np.zeros_like(mask)
    for number, box in enumerate(ndimage.find_objects(mask), start=1):
        if box is None:
            continue
        margin = int(4 * _SMOOTHING)
        part = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        inside = mask[part] == number
        wanted = change(inside) & (inside | (mask[part] == 0))
        out[part][wanted] = number
    return out
