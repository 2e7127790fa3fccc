"""Masks as NIfTI: x, y, one slice and time, with the size of a pixel and the time step."""

from __future__ import annotations

import gzip
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from numpy.typing import NDArray

from vivim.io.formats.tiff import _check
from vivim.io.import_source import Found
from vivim.io.mask_source import Work
from vivim.video.readers.nifti_header import check_start

NIFTI1_MOST = 32767
"""Longest axis that NIfTI-1 can say; beyond it the file is NIfTI-2."""
SCANNER = 1
"""Code of coordinates that begin at the picture's first pixel, as other writers of 2-D series use it."""


def write_nifti(work: Work, path: Path) -> Generator[int, None, None]:
    """Write ``(W, H, 1, T)`` uint8, labels as they are, compressed if the name ends in ``.gz``.

    Columns run to the patient's left and rows down, as DICOM has it. Time is the fourth axis, because NIfTI reserves
    that for it. Units are "unknown" where the video says nothing.
    """
    header = _header(work)
    with path.open("wb") as plain, _packed(plain, path.suffix == ".gz") as file:
        header.write_to(file)
        for done, t in enumerate(work.frames, start=1):
            file.write(np.ascontiguousarray(work.mask(t)).data)
            yield done


def _packed(plain: BinaryIO, packed: bool) -> AbstractContextManager[Any]:
    """Compress while writing, without the name of the temporary file or the time."""
    if not packed:
        return nullcontext(plain)
    return gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=plain, mtime=0)


def _header(work: Work) -> nibabel.Nifti1Header:
    (height, width), source = work.size, work.source
    shape = (width, height, 1, len(work.frames))
    header = nibabel.Nifti1Header() if max(shape) <= NIFTI1_MOST else nibabel.Nifti2Header()
    row, column = source.pixel_spacing_mm or (1.0, 1.0)
    step = 1.0 / source.fps if source.fps else 1.0
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    affine = np.diag([-column, -row, 1.0, 1.0])
    header.set_qform(affine, SCANNER)
    header.set_sform(affine, SCANNER)
    header.set_zooms((column, row, 1.0, step))
    header.set_xyzt_units("mm" if source.pixel_spacing_mm else "unknown", "sec" if source.fps else "unknown")
    header["toffset"] = work.frames[0] * step
    return header


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
