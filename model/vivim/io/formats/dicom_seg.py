"""Lesions as a DICOM Segmentation object that points at the frames of the multi-frame DICOM they were drawn on.

This is the one export that holds who the patient is: the standard requires the patient and study of the source.

Written with pydicom, because highdicom takes neither plain ultrasound cines (frames without functional groups, hence
without a position) as a source, nor does it need to be installed. Sources: DICOM PS3.3 A.51 (Segmentation IOD),
C.8.20 (segmentation modules), C.7.6.16 (functional groups), C.7.6.17 (dimensions).
"""

from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian

from vivim.errors import ExportError
from vivim.io.formats.dicom_seg_header import NEEDED, Place, header
from vivim.io.mask_source import Work
from vivim.utils.atomic_files import part_of, remove

DEFERRED = "64 KB"
"""Elements larger than this, the pixels above all, stay in the file."""
MOST_BYTES = 2**32 - 2
"""Longest value an element can have."""


def write_dicom_seg(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one segment a lesion, and for each a frame of one bit a pixel wherever it is seen.

    Raises `ExportError` if the video is no DICOM file, its header lacks what a segmentation must refer to,
    there is no lesion, or there are too many.
    """
    source = read_source(work)
    places = [Place(number, t) for t in work.frames for number in work.lesions.ids(t)]
    places.sort(key=lambda place: (place.lesion, place.frame))
    if not places:
        raise ExportError("There is no lesion in these frames, and a DICOM Segmentation needs one.")
    if len(places) * work.size[0] * work.size[1] > 8 * MOST_BYTES:
        raise ExportError(
            f"{len(places)} masks are more than one DICOM Segmentation can hold. Export a range of frames."
        )
    bits = part_of(path.with_name("pixels"))
    try:
        with bits.open("w+b") as pixels:
            for done, _ in enumerate(_pack(work, places, pixels), start=1):
                yield done * len(work.frames) // (len(places) + 1)
            if pixels.tell() % 2:
                pixels.write(b"\0")
            pixels.seek(0)
            dataset = header(work, source, places)
            dataset.add_new("PixelData", "OB", pixels)
            _save(dataset, path)
    finally:
        remove(bits)
    yield len(work.frames)


def read_source(work: Work) -> Dataset:
    """Header of the DICOM file that the masks were drawn on.

    Raises `ExportError` if it is not DICOM, or lacks what must be referred to.
    """
    path = Path(work.source.video.path)
    try:
        source = pydicom.dcmread(path, stop_before_pixels=True, defer_size=DEFERRED)
    except (InvalidDicomError, IsADirectoryError, PermissionError) as error:
        raise ExportError(
            "A DICOM Segmentation can only be made for a video that is one DICOM file. Choose another format."
        ) from error
    missing = [name for name in NEEDED if not source.get(name)]
    frames = int(source.get("NumberOfFrames", 1) or 1)
    if missing:
        raise ExportError(
            f"The video's DICOM header lacks {missing[0]}, which a Segmentation must refer to. Choose another format."
        )
    if (frames, source.Rows, source.Columns) != work.source.shape:
        raise ExportError(
            f"The video's DICOM header speaks of {frames} frames of {source.Columns} x {source.Rows}, but its masks "
            f"are {work.source.shape}. Choose another format."
        )
    return source


def _pack(work: Work, places: list[Place], file: BinaryIO) -> Generator[None, None, None]:
    """Write the masks one bit a pixel, lowest bit first, frames not padded to whole bytes."""
    left = np.zeros(0, np.uint8)
    for place in places:
        lesion = next(found for found in work.lesions.of(place.frame) if found.id == place.lesion)
        bits = np.concatenate([left, lesion.mask(work.size).ravel().view(np.uint8)])
        whole = len(bits) // 8 * 8
        file.write(np.packbits(bits[:whole], bitorder="little").data)
        left = bits[whole:]
        yield
    file.write(np.packbits(left, bitorder="little").data)


def _save(dataset: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
