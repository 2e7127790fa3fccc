"""Ultrasound cines in DICOM, made up on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

PATIENT = {
    "PatientName": "Zweifel^Hedwig",
    "PatientID": "PID-7719-Q",
    "PatientBirthDate": "19510307",
    "PatientSex": "F",
    "AccessionNumber": "ACC55120",
    "StudyID": "ST-8841",
    "StudyDate": "20240229",
    "StudyTime": "113355",
    "ReferringPhysicianName": "Krautwurst^Alois",
}


@pytest.fixture
def make_cine() -> Callable[..., Path]:
    """A function that writes a multi-frame ultrasound DICOM of a bright disc that wanders."""
    return write_cine


def write_cine(path: Path, frames: int = 7, size: tuple[int, int] = (37, 45), **more: Any) -> Path:
    """Write a cine of `frames` of `size` (an odd number of pixels); `more` are attributes by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "US", 3, 1
    dataset.Rows, dataset.Columns = size
    dataset.NumberOfFrames, dataset.FrameTime = frames, "40"
    dataset.FrameIncrementPointer = pydicom.datadict.tag_for_keyword("FrameTime")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    region = Dataset()
    region.RegionDataType = region.RegionSpatialFormat = 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.05
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = size[1] - 1, size[0] - 1
    dataset.SequenceOfUltrasoundRegions = [region]
    for keyword, value in {**PATIENT, **more}.items():
        setattr(dataset, keyword, value)
    ys, xs = np.mgrid[: size[0], : size[1]]
    pixels = [40 + 150 * ((ys - 15) ** 2 + (xs - 15 - t) ** 2 < 49) for t in range(frames)]
    data = np.asarray(pixels, np.uint8).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset.save_as(path, enforce_file_format=True)
    return path
