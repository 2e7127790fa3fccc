"""From the values stored in DICOM to the picture that a viewer shows.

Rescale, then window or VOI table, then the inversion of MONOCHROME1, as DICOM PS3.4 N.2 orders them. For pixels of up
to 16 bits the chain is one table, made once for a file; larger ones are computed frame by frame.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from vivim.video.readers.dicom_header import shared_group

Display = Callable[[NDArray], NDArray]


def display_of(dataset: Dataset) -> Display:
    """A function from decoded pictures, colour already RGB, to what is shown.

    Colour becomes uint8. Grey becomes uint8 where up to 8 bits are stored, else uint16. With a window or a VOI table
    black and white are the ends of that type; without, grey values stay as they are stored, signed ones moved so that
    the smallest possible is 0, and of more than 16 bits the upper 16 remain.
    """
    interpretation, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
    if interpretation == "PALETTE COLOR":
        return lambda picture: _eight_bits(apply_color_lut(picture, dataset))
    if int(dataset.SamplesPerPixel) > 1:
        return lambda picture: _eight_bits(picture, bits)
    signed, inverted = dataset.get("PixelRepresentation") == 1, interpretation == "MONOCHROME1"
    grey = _Grey(dataset, bits, signed, inverted)
    if bits > 16:
        return grey
    lowest = -(2 ** (bits - 1)) if signed else 0
    stored = np.arange(lowest, lowest + 2**bits, dtype=np.int32)
    table = grey(stored)
    return lambda picture: table[np.clip(picture.astype(np.int32) - lowest, 0, len(table) - 1)]


def _eight_bits(picture: NDArray, bits: int | None = None) -> NDArray:
    if picture.dtype == np.uint8 and (bits or 8) == 8:
        return np.ascontiguousarray(picture)
    shift = (bits or picture.dtype.itemsize * 8) - 8
    return np.clip(picture >> shift if shift > 0 else picture << -shift, 0, 255).astype(np.uint8)


class _Grey:
    """Stored grey values to shown ones."""

    def __init__(self, dataset: Dataset, bits: int, signed: bool, inverted: bool) -> None:
        self._bits, self._signed, self._inverted = bits, signed, inverted
        self._top = 255 if bits <= 8 else 65535
        self._rescale = _with_rescale(dataset)
        voi = shared_group(dataset, "FrameVOILUTSequence") if "WindowCenter" not in dataset else dataset
        self._window = _window(voi)
        self._table = dataset.VOILUTSequence[0] if dataset.get("VOILUTSequence") else None

    def __call__(self, stored: NDArray) -> NDArray:
        if self._table is None and self._window is None:
            return self._as_stored(stored)
        share = self._shares(np.asarray(apply_modality_lut(stored, self._rescale), np.float32))
        if self._inverted:
            share = 1 - share
        return np.rint(share * self._top).astype(np.uint8 if self._top == 255 else np.uint16)

    def _as_stored(self, stored: NDArray) -> NDArray:
        values = stored.astype(np.int64)
        if self._signed:
            values += 2 ** (self._bits - 1)
        if self._inverted:
            values = 2**self._bits - 1 - values
        if self._bits == 1:
            values *= 255
        return (values >> max(0, self._bits - 16)).astype(np.uint8 if self._bits <= 8 else np.uint16)

    def _shares(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values to brightness from 0 to 1."""
        if self._window is not None:
            return self._window(values)
        count, first, bits = (int(v) for v in self._table.LUTDescriptor)  # type: ignore[union-attr]
        data = self._table.LUTData  # type: ignore[union-attr]
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        at = np.clip(values - first, 0, (count or 65536) - 1).astype(np.int64)
        return (entries[at] / (2**bits - 1)).astype(np.float32)


def _with_rescale(dataset: Dataset) -> Dataset:
    """Where the rescale stands: in the file itself or in the groups of enhanced objects."""
    if "RescaleSlope" in dataset or "ModalityLUTSequence" in dataset:
        return dataset
    return shared_group(dataset, "PixelValueTransformationSequence")


def _window(dataset: Dataset) -> Callable[[NDArray], NDArray] | None:
    """The first window, as brightness from 0 to 1 (DICOM PS3.3 C.11.2.1.2). None if there is none that makes sense."""
    found = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if found[0] is None or found[1] is None or found[1] <= 0:
        return None
    centre, width = found[0], found[1]
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -80, 80)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width <= 0:  # a window of one value: below it black, above it white
        return lambda values: (values > centre).astype(np.float32)
    return lambda values: np.clip((values - centre) / width + 0.5, 0, 1)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    values = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    return float(values[0]) if values else None
