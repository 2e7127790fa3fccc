"""Read a picture file as a mask: its values are numbers of classes or lesions, never brightness."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INDEXED, GREY = "P", ("1", "L", "I", "I;16", "I;16B", "I;16L", "F")
LOSSY = ("JPEG", "MPO")
NEAR = 64
"""A lossy file is black and white where all its values are nearer than this to 0 or to 255."""


class MaskPicture(NamedTuple):
    """A mask as its file holds it."""

    values: NDArray
    """``(H, W)``, 0 for background. Where `coloured`, the colours as ``0xRRGGBB``."""
    indexed: bool = False
    """Whether the file has a palette, whose first colour is background."""
    coloured: bool = False
    """Whether the file is a colour picture with more than shades of grey."""


def read_mask_picture(path: Path) -> MaskPicture:
    """Read one picture of a mask.

    A lossy file (JPEG) cannot hold numbers. It is taken as black and white if it looks so. Transparent pixels
    are background. Raises `ValueError` if a lossy file is not black and white. Raises `OSError` if it is no
    picture, or damaged.
    """
    with Image.open(path) as picture:
        if picture.format in LOSSY:
            return MaskPicture(_black_and_white(np.asarray(picture.convert("L"))))
        if picture.mode == "1":
            return MaskPicture(np.asarray(picture).astype(np.uint8))
        if picture.mode == INDEXED and _background_is_black(picture):
            return MaskPicture(np.asarray(picture), indexed=True)
        if picture.mode in GREY:
            return MaskPicture(np.asarray(picture))
        parts = np.asarray(picture.convert("RGBA"))
    parts = parts[..., :3] * (parts[..., 3:] > 0)
    if (parts == parts[..., :1]).all():
        return MaskPicture(parts[..., 0])
    red, green, blue = np.moveaxis(parts.astype(np.int64), -1, 0)
    return MaskPicture(red << 16 | green << 8 | blue, coloured=True)


def _background_is_black(picture: Image.Image) -> bool:
    palette = picture.getpalette()
    return palette is None or not any(palette[:3])


def _black_and_white(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = grey > np.iinfo(np.uint8).max - NEAR
    if not (bright | (grey < NEAR)).all():
        raise ValueError(
            "a JPEG cannot hold numbers of classes, and this one is not black and white: save masks as PNG"
        )
    return bright.astype(np.uint8) * 255
