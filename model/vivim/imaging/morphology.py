"""Edit a whole mask at once: smooth it, fill its holes, grow it, relabel a component.

Masks are uint8 ``(H, W)``, 0 for background, other numbers for classes. Every function returns a new one of the same
kind and keeps classes apart: where two would claim a pixel, the one that had it keeps it, else the higher number.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import disk

Mask = NDArray[np.uint8]
_SMOOTHING = 2.0  # pixels; detail smaller than that goes


def smooth(mask: Mask) -> Mask:
    """Take small dents and bumps off the outlines, by a Gaussian of 2 pixels cut at one half."""
    return _each(mask, lambda inside: ndimage.gaussian_filter(inside.astype(np.float32), _SMOOTHING) > 0.5)


def fill_holes(mask: Mask) -> Mask:
    """Fill background enclosed by one class with that class."""
    return _each(mask, ndimage.binary_fill_holes)


def keep_largest(mask: Mask) -> Mask:
    """Keep only the largest connected component of each class. Pixels touching at corners are connected."""
    return _each(mask, _largest)


def grow(mask: Mask) -> Mask:
    """Grow every class by one pixel all around, over background only."""
    return _each(mask, lambda inside: ndimage.binary_dilation(inside, disk(1)))


def shrink(mask: Mask) -> Mask:
    """Shrink every class by one pixel all around. The picture's edge counts as inside."""
    return _each(mask, lambda inside: ndimage.binary_erosion(inside, disk(1), border_value=1))


def relabel(mask: Mask, row: int, column: int, number: int) -> Mask:
    """Give the connected component at a pixel the class `number`. Nothing changes where there is background."""
    out = mask.copy()
    if mask[row, column]:
        components = label(mask == mask[row, column], connectivity=2)
        out[components == components[row, column]] = number
    return out


def _largest(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    components = label(inside, connectivity=2)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


def _each(mask: Mask, change: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]) -> Mask:
    """Apply a change to every class by itself, within the part of the picture that it can reach."""
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
