"""A phantom video with a scale, and three readers of it: one draws too little, one too much, one beside it."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
from scipy import ndimage
from vivim import Session, make_phantom

SPACING = (0.3, 0.2)
"""Height and width of a pixel in mm."""
EMPTY = (1, 2)
"""Frames without a lesion."""


def write_phantom(
    path: Path, seed: int = 3, frames: int = 8, size: tuple[int, int] = (96, 112)
) -> np.ndarray:
    """Write a phantom as NIfTI, which has a scale, and return its true masks. `EMPTY` frames show no lesion."""
    phantom = make_phantom(frames=frames, size=size, seed=seed)
    affine = np.diag([SPACING[1], SPACING[0], 1.0, 1.0])
    image = nibabel.Nifti1Image(np.ascontiguousarray(phantom.frames.T), affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    phantom.masks[list(EMPTY)] = 0
    return phantom.masks


def drawn_by(truth: np.ndarray) -> dict[str, np.ndarray]:
    """Masks ``(T, H, W)`` of three readers. In frame 1 the second sees a lesion that is not there."""
    tall = ndimage.generate_binary_structure(2, 1)
    small = np.stack([ndimage.binary_erosion(mask, tall, iterations=3) for mask in truth])
    large = np.stack([ndimage.binary_dilation(mask, tall, iterations=3) for mask in truth])
    large[1, 20:30, 20:32] = True
    beside = np.roll(truth, (3, 4), axis=(1, 2))
    return {name: masks.astype(np.uint8) for name, masks in (("a", small), ("b", large), ("c", beside))}


def write_dicom(path: Path, frames: np.ndarray, name: str, number: str) -> None:
    """Write a cine ``(T, H, W)`` whose header says who the patient is."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.Modality = name, number, "US"
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = frames.tobytes()
    data.save_as(path, enforce_file_format=True)


def open_reader(video: Path, name: str) -> Session:
    """Open a reader's session of a video."""
    return Session.open(video, reader=name)


def approve(session: Session) -> None:
    """Bring a session to the state in which it is released."""
    for state in ("submitted", "in review", "approved"):
        session.set_state(state, by="senior")
