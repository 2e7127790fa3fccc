"""DICOM files with pixels and attributes of one's choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid


def dicom(
    path: Path,
    pixels: np.ndarray,
    kind: str = "MONOCHROME2",
    bits: int | None = None,
    compressed: list[bytes] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    **attributes: object,
) -> Path:
    """Write frames ``(T, H, W[, 3])``; `compressed` are the same frames as `syntax` codes them."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = UID(syntax), generate_uid()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    little = meta.TransferSyntaxUID.is_little_endian
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128, is_little_endian=little)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    data.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(data, name, value)
    data.PixelData = encapsulate(compressed) if compressed else pixels.tobytes()
    data["PixelData"].VR = "OB" if compressed or data.BitsAllocated == 8 else "OW"
    data["PixelData"].is_undefined_length = bool(compressed)
    data.save_as(path, enforce_file_format=True)
    return path
