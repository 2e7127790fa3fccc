"""Masks as a folder of pictures, one a frame: black and white, grey classes, or indexed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import MasksError
from vivim.imports.found import Found, frames_of, wrong_size
from vivim.video.folder import natural_key

SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg"}
INDEXED, GREY = "P", ("1", "L", "I", "I;16", "I;16B", "I;16L", "F")


def find_pictures(folder: Path, shape: tuple[int, int, int], keep: ExitStack) -> Found:
    """Masks of a folder, or of its subfolder ``masks``; only the pictures' headers are read
    yet, and nothing is left open in `keep`.

    Raises
    ------
    MasksError
        If there are none, or they do not fit a video of `shape`.
    """
    inner = folder / "masks"
    place = inner if inner.is_dir() else folder
    paths = [path for path in place.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    paths.sort(key=lambda path: natural_key(path.name))
    if not paths:
        raise MasksError(f"There are no pictures in {place.name}. Choose a folder of masks, one PNG a frame.")
    frames = frames_of([path.stem for path in paths], shape[0])
    indexed = set()
    for path in paths:
        with Image.open(path) as picture:
            if picture.size != shape[:0:-1]:
                raise wrong_size(picture.size[::-1], shape[1:])
            indexed.add(picture.mode == INDEXED)
    return Found(frames, lambda i: _read(paths[i]), numbered=indexed == {True})


def _read(path: Path) -> NDArray:
    with Image.open(path) as picture:
        if picture.mode == "1":
            return np.asarray(picture).astype(np.uint8)
        if picture.mode in (INDEXED, *GREY):
            return np.asarray(picture)
        parts = np.asarray(picture.convert("RGB"))
    if (parts != parts[..., :1]).any():  # made grey, a dark colour would be no lesion
        raise MasksError(f"{path.name} is coloured. Save the masks black and white, grey, or with a palette.")
    return parts[..., 0]
