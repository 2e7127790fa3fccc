"""A folder of pictures, in natural order of their names, as a video."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video, check_picture, check_size, oriented, over_black, plausible_aspect
from vivim.video.readers.tiff import GREYS, TiffVideo, aspect_of, picture_of

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", *TIFF_SUFFIXES}
ORIENTATION = Base.Orientation

FILE_BYTES = 2**28
"""Largest file of one picture; some kinds are read whole to find out what they hold."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorting key under which ``frame9`` comes before ``frame10``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part.lower())
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


def open_pictures(folder: Path) -> Video:
    """Open a folder of pictures, or the one stack that lies in it."""
    files = pictures_in(folder)
    if len(files) == 1 and is_tiff(files[0]):
        with _told(files[0]), tifffile.TiffFile(files[0]) as tiff:
            count = _pictures_of(tiff)
        if count > 1:
            return TiffVideo(files[0])
    return FolderVideo(folder, files)


class FolderVideo(Video):
    """Pictures of one size, as viewers show them. Grey stays grey, with 8 or 16 bits, everything else becomes RGB."""

    def __init__(self, path: Path, files: list[Path]) -> None:
        self.files = files
        if not self.files:
            raise VideoError(f"{path} has no pictures (png, jpg, bmp, tif, webp). Choose a folder of frames.")
        self._kind = self._one_kind()
        first = self._read(0)
        shape = (len(self.files), *first.shape)
        super().__init__(path, shape, first.dtype, files=self.files, pixel_aspect=_aspect(self.files[0]))
        self._cache.put(0, first)

    def _one_kind(self) -> str:
        """``"L"``, ``"I;16"`` or ``"RGB"``: what all pictures, of one size, are read as."""
        name = self.files[0].name
        size, kind = _geometry(self.files[0])
        for file in self.files[1:]:
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
        file = self.files[i]
        with _told(file):
            if is_tiff(file):
                with tifffile.TiffFile(file) as tiff:
                    picture = picture_of(tiff.pages.first, file)
            else:
                picture = _shown(file)
        if self._kind == "RGB":
            picture = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
            picture = (picture >> 8).astype(np.uint8) if picture.dtype == np.uint16 else picture
        return picture

    def _decode(self, i: int) -> NDArray:
        picture = self._read(i)
        if picture.shape != self.shape[1:]:
            raise VideoError(
                f"{self.files[i].name} has changed its size since the folder was opened. Open it again."
            )
        return picture


def _aspect(file: Path) -> float:
    """Width by height of a pixel, where the dots along x and y that a picture notes differ."""
    if is_tiff(file):
        with tifffile.TiffFile(file) as tiff:
            return aspect_of(tiff.pages.first)
    with Image.open(file) as picture:
        notes, orientation = picture.info, picture.getexif().get(ORIENTATION, 1)
    x, y = next((notes[name] for name in ("dpi", "aspect", "jfif_density") if name in notes), (1, 1))
    aspect = plausible_aspect(float(y) / float(x)) if min(x, y) > 0 else 1.0
    return 1 / aspect if 5 <= orientation <= 8 else aspect


def _pictures_of(tiff: tifffile.TiffFile) -> int:
    return tiff.series[0].size // max(1, tiff.pages.first.size)


def is_tiff(file: Path) -> bool:
    """Whether a picture is a TIFF by its ending."""
    return file.suffix.lower() in TIFF_SUFFIXES


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Tell in words which picture of a folder cannot be read."""
    try:
        yield
    except VideoError:
        raise
    except Exception as error:  # Pillow and tifffile raise many kinds for damaged files
        raise FrameError(f"{file.name} cannot be read ({error}). Replace it or move it away.") from error


def _shown(file: Path) -> NDArray:
    """A picture as viewers show it: turned as EXIF says, and over black where it is transparent."""
    with Image.open(file) as picture:
        orientation = picture.getexif().get(ORIENTATION, 1)
        if picture.mode.startswith("I"):
            values = np.asarray(picture)
            if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
                raise VideoError(f"{file.name} has values beyond 16 bits. Convert it to 8- or 16-bit grey.")
            shown = values.astype(np.uint16)
        elif picture.has_transparency_data:
            rgba = np.asarray(picture.convert("RGBA"))
            shown = over_black(rgba[..., :3], rgba[..., 3])
            shown = shown[..., 0] if _kind_of(picture.mode) == "L" else shown
        else:
            shown = np.asarray(picture.convert(_kind_of(picture.mode)))
    return check_picture(oriented(shown, orientation), file)


def _kind_of(mode: str) -> str:
    """What a picture of one of Pillow's modes is read as."""
    return "L" if mode in ("1", "L", "LA", "La") else "I;16" if mode.startswith("I") else "RGB"


def _geometry(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height as it is shown, and the kind to read it as, from the header alone."""
    if file.stat().st_size > FILE_BYTES:
        raise VideoError(
            f"{file.name} takes more than {FILE_BYTES >> 20} MB, which is no picture. Replace it or move it away."
        )
    with _told(file):
        if is_tiff(file):
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages.first
                size, frames = (page.imagewidth, page.imagelength), _pictures_of(tiff)
                kind = "L" if page.bitspersample <= 8 else "I;16"
                if page.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP:
                    kind = "F"
                elif page.photometric not in GREYS or page.samplesperpixel > 2:
                    kind = "RGB"
                orientation = int(page.tags["Orientation"].value) if "Orientation" in page.tags else 1
        else:
            with Image.open(file) as picture:
                size, frames = picture.size, getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
                kind = "F" if picture.mode == "F" else _kind_of(picture.mode)
                orientation = picture.getexif().get(ORIENTATION, 1)
    check_size(size[1], size[0], file.name)
    if kind == "F":
        raise VideoError(f"{file.name} holds floating-point values. Convert it to 8- or 16-bit grey.")
    if frames > 1:
        raise VideoError(
            f"{file.name} holds {frames} pictures and lies among others, so their order is not known. Open it "
            "alone, or save each as a file of its own."
        )
    return (size[::-1] if 5 <= orientation <= 8 else size), kind
