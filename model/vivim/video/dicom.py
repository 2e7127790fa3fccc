"""Multi-frame DICOM (ultrasound and endoscopy cines), decoded one frame at a time through pydicom.

Only geometry and timing are read from the header; nothing about the patient is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, pixel_array

from vivim.errors import VideoError
from vivim.video.base import VideoBase

CENTIMETRES = 3
"""Code of centimetres in Physical Units X/Y Direction (DICOM PS3.3 C.8.5.5.1.15)."""

SIGNED = 1
"""Value of Pixel Representation for two's complement."""

B_MODE = 1
"""Code of 2-D tissue in Region Data Type."""


DEFERRED = "64 KB"
"""Elements larger than this, the pixels above all, stay in the file."""


class DicomVideo(VideoBase):
    """Colour frames are RGB uint8, grey ones uint8 or uint16; MONOCHROME1 is inverted to show light as light."""

    def __init__(self, path: Path) -> None:
        try:
            self._dataset = pydicom.dcmread(path, defer_size=DEFERRED)
        except (InvalidDicomError, OSError, EOFError, ValueError, KeyError) as error:
            raise VideoError(
                f"{path.name} cannot be read as DICOM ({type(error).__name__}). Export it anew."
            ) from error
        if "PixelData" not in self._dataset:
            raise VideoError(f"{path.name} is DICOM without pictures. Choose an image or cine object.")
        count = int(self._dataset.get("NumberOfFrames", 1) or 1)
        first = self._read(0, path)
        super().__init__(
            path, (count, *first.shape), first.dtype, _rate(self._dataset), _spacing(self._dataset)
        )
        self._cache.put(0, first)

    def _read(self, i: int, path: Path) -> NDArray:
        try:
            return self._displayed(
                pixel_array(path, index=i)
            )  # from the file: of the pixels, only this frame's
        except Exception as error:  # pydicom and its decoders raise many kinds
            raise VideoError(
                f"Frame {i} of {path.name} cannot be decoded ({type(error).__name__}: {error}). Export it anew, "
                "without compression, or install the decoder it names (pip install pylibjpeg pylibjpeg-libjpeg)."
            ) from error

    def _displayed(self, picture: NDArray) -> NDArray:
        """One decoded frame, colour already RGB, as the protocol wants it."""
        dataset = self._dataset
        if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
            coloured = apply_color_lut(picture, dataset)
            return coloured if coloured.dtype == np.uint8 else (coloured >> 8).astype(np.uint8)
        if picture.ndim == 3:
            return np.ascontiguousarray(picture, np.uint8)
        bits = int(dataset.BitsStored)
        if bits > 16:
            raise ValueError(f"{bits} bits a pixel are more than the 16 that can be shown")
        values = picture.astype(np.int64)
        if dataset.get("PixelRepresentation") == SIGNED:  # the smallest value there can be becomes 0
            values += 2 ** (bits - 1)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            values = 2**bits - 1 - values
        return values.astype(np.uint8 if bits <= 8 else np.uint16)

    def _decode(self, i: int) -> NDArray:
        return self._read(i, self.path)


def _rate(dataset: pydicom.Dataset) -> float | None:
    """Frames per second from whichever attribute says it."""
    if dataset.get("FrameTime"):
        return 1000.0 / float(dataset.FrameTime)
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        if dataset.get(name):
            return float(dataset.get(name))
    return None


def _spacing(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in mm: Pixel Spacing, or the first B-mode region measured in centimetres."""
    sizes = [tuple(float(v) for v in dataset.PixelSpacing)] if dataset.get("PixelSpacing") else []
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    for region in sorted(regions, key=lambda r: r.get("RegionDataType") != B_MODE):
        units = (region.get("PhysicalUnitsYDirection"), region.get("PhysicalUnitsXDirection"))
        if units == (CENTIMETRES, CENTIMETRES):
            deltas = (region.get("PhysicalDeltaY") or 0, region.get("PhysicalDeltaX") or 0)
            sizes.append(tuple(abs(float(delta)) * 10 for delta in deltas))
    return next(((s[0], s[1]) for s in sizes if len(s) == 2 and min(s) > 0), None)
