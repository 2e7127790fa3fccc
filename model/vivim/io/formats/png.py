"""Masks as one PNG a frame: black and white, or with the number of a lesion in each pixel."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import ExportError, MasksError
from vivim.imaging.mask_files import INDEXED, read_mask_picture
from vivim.io.import_source import Found, ReadOptions, frames_of, wrong_size
from vivim.io.mask_source import Work
from vivim.video.readers.image_folder import natural_key

MOST = 255
"""Lesions that an indexed picture has numbers for."""


def write_png(work: Work, path: Path) -> Generator[int, None, None]:
    """Write ``path/000000.png`` and so on, named by frame number: 0 for background, 255 for a lesion of any class."""
    path.mkdir()
    for done, t in enumerate(work.frames, start=1):
        save_binary(work.mask(t), path / f"{t:06d}.png")
        yield done


def write_palette(work: Work, path: Path) -> Generator[int, None, None]:
    """Write ``path/000000.png`` and so on as DAVIS does: indexed, each pixel the number of its lesion."""
    path.mkdir()
    check_numbers(work)
    for done, t in enumerate(work.frames, start=1):
        save_indexed(work.lesions.picture(t), path / f"{t:06d}.png")
        yield done


def save_binary(mask: NDArray, path: Path) -> None:
    """Save a mask ``(H, W)`` as 0 and 255."""
    Image.fromarray((mask > 0).astype(np.uint8) * 255).save(path, compress_level=1)


def save_indexed(numbers: NDArray, path: Path) -> None:
    """Save numbers ``(H, W)`` up to `MOST` as an indexed picture with DAVIS's colours."""
    picture = Image.fromarray(numbers.astype(np.uint8))
    picture.putpalette(davis_palette())
    picture.save(path, compress_level=1)


def check_numbers(work: Work) -> None:
    """Make sure that all numbers of lesions fit into an indexed picture."""
    newest = max((number for t in work.frames for number in work.lesions.ids(t)), default=0)
    if newest > MOST:
        raise ExportError(
            f"There are {newest} lesions, and an indexed picture has numbers for {MOST}. Leave out small specks, or "
            "choose another format."
        )


def davis_palette() -> list[int]:
    """Red, green and blue of 256 colours: bits 0, 3, 6 of a number are the highest bits of red, and so on.

    Source: the colour map of PASCAL VOC, which DAVIS and YouTube-VOS use.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * place + channel)) & 1) << (7 - place)
    return colours.ravel().tolist()


SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg"}


def find_pictures(folder: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of a folder, or of its subfolder ``masks``. Only the pictures' headers are read yet."""
    inner = folder / "masks"
    place = inner if inner.is_dir() else folder
    paths = [
        path
        for path in place.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    paths.sort(key=lambda path: natural_key(path.name))
    if not paths:
        raise MasksError(f"There are no pictures in {place.name}. Choose a folder of masks, one PNG a frame.")
    frames = frames_of([path.stem for path in paths], shape[0], options)
    indexed = set()
    for path in paths:
        with Image.open(path) as picture:
            if picture.size != shape[:0:-1]:
                raise wrong_size(picture.size[::-1], shape[1:])
            indexed.add(picture.mode == INDEXED)
    coloured: set[int] = set()

    def read(i: int) -> NDArray:
        try:
            found = read_mask_picture(paths[i])
        except ValueError as error:
            raise MasksError(f"{paths[i].name} cannot be read as a mask: {error}.") from error
        if found.coloured:
            coloured.add(i)
        return found.values

    return Found(frames, read, numbered=indexed == {True}, coloured=coloured)
