"""A folder of pictures, in natural order of their names, as a video."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vivim.errors import VideoError
from vivim.video.base import VideoBase, check_picture, file_identity

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorting key under which ``frame9`` comes before ``frame10``."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part.lower())
        for part in re.split(r"(\d+)", name)
        if part
    ]


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of `folder`, or of its ``frames`` subfolder if it has one, hidden files left out."""
    inner = folder / "frames"
    source = inner if inner.is_dir() else folder
    files = [
        p
        for p in source.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    return sorted(files, key=lambda p: natural_key(p.name))


class FolderVideo(VideoBase):
    """Pictures of one size; grey stays grey, everything else becomes RGB."""

    def __init__(self, path: Path) -> None:
        self._files = pictures_in(path)
        if not self._files:
            raise VideoError(f"{path} has no pictures (png, jpg, bmp, tif, webp). Choose a folder of frames.")
        self._size, self._mode = _geometry(self._files[0])
        for file in self._files[1:]:
            size, _ = _geometry(file)
            if size != self._size:
                raise VideoError(
                    f"{file.name} is {size[0]}x{size[1]} pixels, but {self._files[0].name} is "
                    f"{self._size[0]}x{self._size[1]}. All frames of a video need one size: move the others away."
                )
        first = self._read(0)
        super().__init__(path, (len(self._files), *first.shape), first.dtype)
        self._cache.put(0, first)

    def _read(self, i: int) -> NDArray:
        file = self._files[i]
        try:
            with Image.open(file) as picture:
                grey = self._mode in ("L", "1") or self._mode.startswith("I")
                if grey and self._mode.startswith("I"):
                    return check_picture(np.asarray(picture).astype(np.uint16), file)
                return check_picture(np.asarray(picture.convert("L" if grey else "RGB")), file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(f"{file.name} cannot be read ({error}). Replace it or move it away.") from error

    def _decode(self, i: int) -> NDArray:
        picture = self._read(i)
        if picture.shape != self.shape[1:]:
            raise VideoError(
                f"{self._files[i].name} has changed its size since the folder was opened. Open it again."
            )
        return picture

    def identity(self) -> str:
        """Digest of every file's size and of the first and last file's content."""
        sizes = tuple(file.stat().st_size for file in self._files)
        return file_identity([self._files[0], self._files[-1]], (*self.shape, *sizes))


def _geometry(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height, and colour mode, from the header alone."""
    try:
        with Image.open(file) as picture:
            return picture.size, picture.mode
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise VideoError(f"{file.name} cannot be read ({error}). Replace it or move it away.") from error
