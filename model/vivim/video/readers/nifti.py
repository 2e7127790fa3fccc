"""NIfTI files as videos: columns, rows and time, with or without one slice between.

A packed file of a few megabytes may claim that its pixels begin, or that an extension of its header ends, gigabytes
further on; whoever believes it unpacks zeros for minutes. What stands before the pixels is therefore checked first.
Source: nifti1.h and nifti2.h of the NIfTI DFWG.
"""

import gzip
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np
from numpy.typing import NDArray

from vivim.errors import VideoError
from vivim.video.base import Video, check_size, plausible_aspect

UNPACKED_BYTES = 512 * 2**20
"""The most that a packed file (.nii.gz) may unpack to; it is kept in memory, whole."""

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3}


class NiftiVideo(Video):
    """A NIfTI video. Grey of whole numbers is uint8 or uint16 as stored, RGB is uint8, other grey becomes uint16.

    Of signed values the smallest possible becomes 0. Stretched grey runs from ``cal_min`` to ``cal_max`` of the
    header, or from the smallest to the largest value of the whole video.
    """

    def __init__(self, path: Path) -> None:
        try:
            check_start(path)
            image: Any = nibabel.load(path)
            header = image.header
            times = _axes(tuple(int(n) for n in image.shape), path)
            check_size(image.shape[1], image.shape[0], path.name)
            self._values = _unscaled(image, path).reshape((image.shape[0], image.shape[1], times), order="F")
            self._range = self._stretch(float(header["cal_min"]), float(header["cal_max"]))
            first = self._picture(0)
            spacing, fps = _geometry(header)
            width, height = (float(zoom) for zoom in header.get_zooms()[:2])
            aspect = plausible_aspect(width / height) if height > 0 else 1.0
        except VideoError:
            raise
        except Exception as error:  # nibabel raises many kinds for damaged files
            raise VideoError(
                f"{path.name} cannot be read as NIfTI ({type(error).__name__}). Save it anew."
            ) from error
        super().__init__(path, (times, *first.shape), first.dtype, fps, spacing, pixel_aspect=aspect)
        self._cache.put(0, first)

    def _stretch(self, low: float, high: float) -> tuple[float, float] | None:
        """The values that become black and white. None where values stay as they are."""
        if self._values.dtype.fields or self._values.dtype in (np.uint8, np.uint16, np.int8, np.int16):
            return None
        if not high > low:
            frames = (self._values[..., t] for t in range(self._values.shape[2]))
            ends = [(f.min(), f.max()) for f in (np.nan_to_num(f, posinf=0, neginf=0) for f in frames)]
            low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
        return low, max(high - low, float(np.finfo(np.float32).tiny))

    def _picture(self, t: int) -> NDArray:
        values = self._values[..., t].T
        if values.dtype.fields:
            return np.stack([values[name] for name in values.dtype.names[:3]], -1).astype(np.uint8)
        if self._range is not None:
            low, span = self._range
            share = np.clip((np.nan_to_num(values).astype(np.float64) - low) / span, 0, 1)
            return np.rint(share * 65535).astype(np.uint16)
        if values.dtype.kind == "i":
            values = values.astype(np.int32) - np.iinfo(values.dtype).min
        return np.ascontiguousarray(values, np.uint8 if self._values.dtype.itemsize == 1 else np.uint16)

    def _decode(self, i: int) -> NDArray:
        return self._picture(i)

    def _release(self) -> None:
        del self._values


def _axes(shape: tuple[int, ...], path: Path) -> int:
    """Number of frames of columns, rows and time, or columns, rows, one slice and time."""
    longer = [n for n in shape[2:] if n != 1]
    if len(shape) < 2 or len(longer) > 1:
        raise VideoError(
            f"{path.name} has the axes {shape}: more than columns, rows and time. Save one slice of it over time."
        )
    return longer[0] if longer else 1


def _unscaled(image: Any, path: Path) -> NDArray:
    """The stored values: in the file where it is not packed, else in memory."""
    size = int(np.prod(image.shape, dtype=object)) * image.get_data_dtype().itemsize
    if path.suffix == ".gz" and size > UNPACKED_BYTES:
        raise VideoError(
            f"{path.name} unpacks to {size >> 20} MB, more than the {UNPACKED_BYTES >> 20} MB that are read. "
            "Unpack it to .nii first, which may be of any length."
        )
    return image.dataobj.get_unscaled()


def _geometry(header: nibabel.Nifti1Header) -> tuple[tuple[float, float] | None, float | None]:
    """Height and width of a pixel in mm, and frames per second, where the header names the units."""
    zooms = [float(z) for z in header.get_zooms()]
    length, duration = header.get_xyzt_units()
    mm, seconds = MILLIMETRES.get(length, 0), SECONDS.get(duration, 0)
    spacing = (zooms[1] * mm, zooms[0] * mm) if mm and min(zooms[:2]) > 0 else None
    step = zooms[3] * seconds if len(zooms) > 3 else 0.0
    return spacing, 1 / step if step > 0 else None


MOST_BYTES = 16 * 2**20
"""Where pixels begin at the latest: headers are some hundred bytes, extensions some thousand."""

_KINDS = {348: ("f", 108), 540: ("q", 168)}
"""By the size of the header, of NIfTI-1 and NIfTI-2: of what type, and where, the place of the pixels is noted."""


def check_start(path: Path) -> None:
    """Make sure that the header is one, that its extensions fit before the pixels, and these begin near the start."""
    packed = path.name.lower().endswith(".gz")
    with cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb") as file:
        head = file.read(544)
        for order in "<>":
            size = struct.unpack(f"{order}i", head[:4].ljust(4, b"\0"))[0]
            if size in _KINDS and len(head) >= size:
                kind, place = _KINDS[size]
                (start,) = struct.unpack_from(f"{order}{kind}", head, place)
                break
        else:
            raise ValueError("it has no header")
        if not start <= MOST_BYTES:
            raise ValueError("its pixels begin too far from its start")
        if head[size : size + 1] > b"\0":
            _check_extensions(file, order, size + 4, int(start))


def _check_extensions(file: BinaryIO, order: str, at: int, end: int) -> None:
    while at + 16 <= end:
        file.seek(at)
        length = file.read(4)
        size = struct.unpack(f"{order}i", length)[0] if len(length) == 4 else 0
        if not 8 <= size <= end - at:
            raise ValueError("an extension of its header is damaged")
        at += size
