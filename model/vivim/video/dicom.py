"""Multi-frame DICOM (ultrasound and endoscopy cines), decoded one frame at a time through pydicom.

Only geometry and timing are read from the header; nothing about the patient is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels import convert_color_space, pixel_array

from vivim.errors import VideoError
from vivim.video.base import VideoBase

CENTIMETRES = 3
"""Code of centimetres in Physical Units X/Y Direction (DICOM PS3.3 C.8.5.5.1.15)."""

B_MODE = 1
"""Code of 2-D tissue in Region Data Type."""


class DicomVideo(VideoBase):
    """Colour frames are RGB uint8, grey ones uint8 or uint16; MONOCHROME1 is inverted to show light as light."""

    def __init__(self, path: Path) -> None:
        try:
            self._dataset = pydicom.dcmread(path, defer_size="64 KB")
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
            picture = pixel_array(self._dataset, index=i, raw=True)
            return self._displayed(picture)
        except Exception as error:  # pydicom and its decoders raise many kinds
            raise VideoError(
                f"Frame {i} of {path.name} cannot be decoded ({type(error).__name__}: {error}). Export it without "
                "compression, or install the decoder it names (pip install pylibjpeg pylibjpeg-libjpeg)."
            ) from error

    def _displayed(self, picture: NDArray) -> NDArray:
        """One decoded frame as the protocol wants it."""
        dataset = self._dataset
        kind = str(dataset.PhotometricInterpretation)
        if kind == "PALETTE COLOR":
            picture = (pydicom.pixels.apply_color_lut(picture, dataset) >> 8).astype(np.uint8)
        elif kind.startswith("YBR") and picture.ndim == 3:
            picture = convert_color_space(picture, kind, "RGB")
        elif kind == "MONOCHROME1":
            picture = int(2 ** int(dataset.BitsStored)) - 1 - picture.astype(np.int64)
        if picture.dtype == np.uint8:
            return np.ascontiguousarray(picture)
        if picture.min() < 0:  # signed pixels: the smallest value stored becomes 0
            picture = picture.astype(np.int64) + 2 ** (int(dataset.BitsStored) - 1)
        return picture.astype(np.uint8 if int(dataset.BitsStored) <= 8 else np.uint16)

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
    if dataset.get("PixelSpacing"):
        return float(dataset.PixelSpacing[0]), float(dataset.PixelSpacing[1])
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    for region in sorted(regions, key=lambda r: r.get("RegionDataType") != B_MODE):
        units = (region.get("PhysicalUnitsYDirection"), region.get("PhysicalUnitsXDirection"))
        if units == (CENTIMETRES, CENTIMETRES):
            return abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10
    return None
