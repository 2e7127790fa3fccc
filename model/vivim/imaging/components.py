"""Connected components of masks: find them, and clean masks by them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.measure import label, regionprops


@dataclass(frozen=True)
class Cleaning:
    """Cleaning of masks before they are exported. Does nothing by default."""

    min_area_px: int = 0
    """Connected components of fewer pixels are removed."""
    fill_holes: bool = False
    """Background that a mask encloses becomes part of it."""

    def __call__(self, mask: ArrayLike) -> NDArray[np.uint8]:
        """Clean a mask ``(H, W)`` uint8 of classes: fill holes, then remove small components."""
        pixels = np.asarray(mask)
        if not pixels.any():
            return pixels
        if self.fill_holes:
            pixels = _filled(pixels)
        return _without_small(pixels, self.min_area_px) if self.min_area_px > 1 else pixels


def _filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill background that does not reach the border, with the class to the left of its first pixel."""
    holes = ndimage.binary_fill_holes(mask > 0) & (mask == 0)
    filled = mask.copy()
    for region in regionprops(label(holes, connectivity=1)):
        row, column = region.coords[0]
        filled[region.slice][region.image] = mask[row, column - 1]
    return filled


def _without_small(mask: NDArray[np.uint8], area: int) -> NDArray[np.uint8]:
    components = label(mask, connectivity=2)
    small = np.bincount(components.ravel()) < area
    return np.where(small[components], 0, mask).astype(mask.dtype)


@dataclass(frozen=True)
class Lesion:
    """One connected component of one frame's mask."""

    id: int
    """Its number, the same in all frames, from 1; 0 before it has one."""
    category: int
    """Its class, from 1."""
    top: int
    left: int
    """Where `image` lies in the frame, in pixels."""
    image: NDArray[np.bool_]
    """``(h, w)`` bool, within its bounding box."""

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of its bounding box."""
        height, width = self.image.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.image))

    def mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return it alone in a frame of `shape` ``(H, W)``."""
        alone = np.zeros(shape, bool)
        alone[self.box] = self.image
        return alone


def lesions_of(mask: NDArray[np.uint8]) -> list[Lesion]:
    """Connected components of a mask ``(H, W)`` of classes, not numbered. Pixels touching at corners are connected."""
    regions = regionprops(label(mask, connectivity=2)) if mask.any() else []
    return [Lesion(0, int(mask[tuple(r.coords[0])]), r.bbox[0], r.bbox[1], r.image) for r in regions]
