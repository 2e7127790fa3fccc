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
    """Read one picture of a mask. Transparent pixels are background.

    A lossy file (JPEG) cannot hold numbers. It is taken as black and white, or refused if it does not look so.
    """
    with Image.open(path) as picture:
        if picture.format in LOSSY:
            return MaskPicture(_black_and_white(np.asarray(picture.convert("L"))))
        if picture.mode == "1":
            return MaskPicture(np.asarray(picture).astype(np.uint8))
        if picture.mode == INDEXED and not any((picture.getpalette() or [])[:3]):  # background is black
            return MaskPicture(np.asarray(picture), indexed=True)
        if picture.mode in GREY:
            return MaskPicture(np.asarray(picture))
        parts = np.asarray(picture.convert("RGBA"))
    parts = parts[..., :3] * (parts[..., 3:] > 0)
    if (parts == parts[..., :1]).all():
        return MaskPicture(parts[..., 0])
    red, green, blue = np.moveaxis(parts.astype(np.int64), -1, 0)
    return MaskPicture(red << 16 | green << 8 | blue, coloured=True)


def _black_and_white(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bright = grey > np.iinfo(np.uint8).max - NEAR
    if not (bright | (grey < NEAR)).all():
        raise ValueError(
            "a JPEG cannot hold numbers of classes, and this one is not black and white: save masks as PNG"
        )
    return bright.astype(np.uint8) * 255
