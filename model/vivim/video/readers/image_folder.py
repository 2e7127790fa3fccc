"""A folder of pictures, in natural order of their names, as a video."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vivim.errors import VideoError
from vivim.video.base import Video, check_picture, check_size

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

FILE_BYTES = 2**28
"""Largest file of one picture; some kinds are read whole to find out what they hold."""


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


def dicoms_in(folder: Path) -> list[Path]:
    """DICOM files of a folder, by their mark, in natural order of their names. DICOMDIR is none."""
    files = (p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "DICOMDIR")
    return sorted((p for p in files if is_dicom(p)), key=lambda p: natural_key(p.name))


def holds_series(folder: Path) -> bool:
    """Whether a folder's DICOM files are its video, rather than pictures that lie beside them, as previews do."""
    return not (folder / "frames").is_dir() and 0 < len(dicoms_in(folder)) >= len(pictures_in(folder))


def is_dicom(path: Path) -> bool:
    """Whether a file bears the mark of DICOM. What may not be read bears none."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


class FolderVideo(Video):
    """Pictures of one size. Grey stays grey, with 8 or 16 bits, everything else becomes RGB."""

    def __init__(self, path: Path) -> None:
        try:
            self._files = pictures_in(path)
        except OSError as error:
            raise VideoError(
                f"The folder {path} cannot be read ({error.strerror}). Check its permissions."
            ) from error
        if not self._files:
            raise VideoError(f"{path} has no pictures (png, jpg, bmp, tif, webp). Choose a folder of frames.")
        self._kind = self._one_kind()
        first = self._read(0)
        super().__init__(path, (len(self._files), *first.shape), first.dtype, files=self._files)
        self._cache.put(0, first)

    def _one_kind(self) -> str:
        """``"L"``, ``"I;16"`` or ``"RGB"``: what all pictures, of one size, are read as."""
        name = self._files[0].name
        size, kind = _geometry(self._files[0])
        for file in self._files[1:]:
            its_size, its_kind = _geometry(file)
            if its_size != size:
                raise VideoError(
                    f"{file.name} is {its_size[0]}x{its_size[1]} pixels, but {name} is {size[0]}x{size[1]}. "
                    "All frames of a video need one size: move the others away."
                )
            if its_kind != kind and "I;16" in (its_kind, kind):
                raise VideoError(
                    f"Of {file.name} and {name}, one has 16 bits a pixel and the other 8. "
                    "Convert them to one kind: their brightness cannot be compared."
                )
            kind = "RGB" if "RGB" in (its_kind, kind) else kind
        return kind

    def _read(self, i: int) -> NDArray:
        file = self._files[i]
        try:
            with Image.open(file) as picture:
                if self._kind != "I;16":
                    return check_picture(np.asarray(picture.convert(self._kind)), file)
                values = np.asarray(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(f"{file.name} cannot be read ({error}). Replace it or move it away.") from error
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise VideoError(f"{file.name} has values beyond 16 bits. Convert it to 8- or 16-bit grey.")
        return values.astype(np.uint16)

    def _decode(self, i: int) -> NDArray:
        picture = self._read(i)
        if picture.shape != self.shape[1:]:
            raise VideoError(
                f"{self._files[i].name} has changed its size since the folder was opened. Open it again."
            )
        return picture


def _geometry(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height, and the kind to read it as, from the header alone."""
    if file.stat().st_size > FILE_BYTES:
        raise VideoError(
            f"{file.name} takes more than {FILE_BYTES >> 20} MB, which is no picture. Replace it or move it away."
        )
    try:
        with Image.open(file) as picture:
            size, mode = picture.size, picture.mode
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise VideoError(f"{file.name} cannot be read ({error}). Replace it or move it away.") from error
    check_size(size[1], size[0], file.name)
    if mode == "F":
        raise VideoError(f"{file.name} holds floating-point values. Convert it to 8- or 16-bit grey.")
    return size, "L" if mode in ("1", "L") else "I;16" if mode.startswith("I") else "RGB"
