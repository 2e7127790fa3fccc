"""Masks as one file: a TIFF of a page a frame, or NIfTI with time as its last axis."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from numpy.typing import NDArray

from vivim.imports.found import Found, wrong_count, wrong_size
from vivim.video.nifti_start import check_start


def find_tiff(path: Path, shape: tuple[int, int, int], keep: ExitStack) -> Found:
    """Masks of a TIFF's first series, whatever its dialect; the file stays open in `keep`.

    Raises
    ------
    MasksError
        If it does not fit a video of `shape`.
    """
    file = keep.enter_context(tifffile.TiffFile(path))
    series = file.series[0]
    _check([size for size in series.shape if size > 1], series.shape[-2:], shape)
    if series.dataoffset is None:  # compressed: a page a frame
        pages: Any = series.pages
        return Found(range(shape[0]), lambda i: np.squeeze(pages[i].asarray()))
    dtype = series.dtype.newbyteorder(file.byteorder)
    pixels = np.memmap(path, dtype, "r", offset=series.dataoffset, shape=shape)
    return Found(range(shape[0]), lambda i: pixels[i])


def find_nifti(path: Path, shape: tuple[int, int, int], keep: ExitStack) -> Found:
    """Masks of a NIfTI file of columns, rows and time, with or without one slice in between.

    Raises
    ------
    MasksError
        If it does not fit a video of `shape`.
    """
    check_start(path)
    image: Any = nibabel.load(path, keep_file_open=True)
    keep.callback(image.uncache)
    sizes = image.shape
    _check([size for size in sizes if size > 1], (*sizes, 1, 1)[1::-1], shape)
    time = max((axis for axis, size in enumerate(sizes) if axis > 1 and size > 1), default=None)

    def read(i: int) -> NDArray:
        key: list[Any] = [slice(None), slice(None), *[0] * (len(sizes) - 2)]
        if time is not None:
            key[time] = i
        return np.asarray(image.dataobj[tuple(key)]).T

    return Found(range(shape[0]), read)


def _check(sizes: list[int], size: Any, shape: tuple[int, int, int]) -> None:
    """Make sure of height and width, and that the rest are the frames."""
    if tuple(size) != shape[1:]:
        raise wrong_size(tuple(size), shape[1:])
    rest = int(np.prod(sizes)) // int(np.prod([length for length in shape[1:] if length > 1]))
    if rest != shape[0]:
        raise wrong_count(rest, shape[0])
