"""Lesions as a DICOM Segmentation object that points at the frames of the multi-frame DICOM they were drawn on.

This is the one export that holds who the patient is: the standard requires the patient and study of the source.

Written with pydicom, because highdicom takes neither plain ultrasound cines (frames without functional groups, hence
without a position) as a source, nor does it need to be installed. Sources: DICOM PS3.3 A.51 (Segmentation IOD),
C.8.20 (segmentation modules), C.7.6.16 (functional groups), C.7.6.17 (dimensions).
"""

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

import vivim
from vivim.errors import ExportError
from vivim.io.mask_source import Work
from vivim.utils.atomic_files import part_of, remove

NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
"""What the source must have for a segmentation to refer to it."""

PATIENT_AND_STUDY = {
    "PatientName": True, "PatientID": True, "IssuerOfPatientID": False, "PatientBirthDate": True,
    "PatientSex": True, "OtherPatientIDsSequence": False, "PatientAge": False, "PatientSize": False,
    "PatientWeight": False, "PatientIdentityRemoved": False, "DeidentificationMethod": False,
    "DeidentificationMethodCodeSequence": False, "StudyInstanceUID": True, "StudyDate": True, "StudyTime": True,
    "ReferringPhysicianName": True, "StudyID": True, "AccessionNumber": True, "StudyDescription": False,
}  # fmt: skip
"""Attributes of patient and study that are taken from the source; those that are true must be there, if empty."""

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
NAME = "napari-vivim"
NOMINAL_MM = "1"
"""Slice thickness where the source has none, as flat pictures do: some readers take no pixel size without one."""
SERIES = 9000
"""Series number: beyond those that machines give."""


class Place(NamedTuple):
    """A lesion in a frame of the source: its number and the frame's, the latter from 0."""

    lesion: int
    frame: int


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """Sequence of one coded concept."""
    return [made(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def made(**values: Any) -> Dataset:
    """Dataset of some attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def header(work: Work, source: Dataset, places: Sequence[Place]) -> Dataset:
    """Segmentation of `places`, sorted, without pixels. Lesions become segments 1, 2, ... in order of their numbers."""
    dataset = Dataset()
    _identify(dataset, source)
    _describe_pixels(dataset, source, len(places))
    numbers = sorted({place.lesion for place in places})
    segments = {number: i for i, number in enumerate(numbers, start=1)}
    dataset.SegmentSequence = [
        _segment(work, [place for place in places if place.lesion == number], segments[number])
        for number in numbers
    ]
    _order(dataset)
    dataset.SharedFunctionalGroupsSequence = [_shared(work, source)]
    own = source.get("PerFrameFunctionalGroupsSequence")
    ranks = {t: i for i, t in enumerate(sorted({place.frame for place in places}), start=1)}
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame(source, place.frame, segments[place.lesion], ranks[place.frame], own) for place in places
    ]
    return dataset


def _identify(dataset: Dataset, source: Dataset) -> None:
    """Patient, study, series, equipment, and this object itself."""
    if "SpecificCharacterSet" in source:
        dataset.SpecificCharacterSet = source.SpecificCharacterSet
    for keyword, required in PATIENT_AND_STUDY.items():
        if keyword in source:
            dataset[keyword] = source[keyword]
        elif required:
            setattr(dataset, keyword, "")
    now = time.localtime()
    day, clock = time.strftime("%Y%m%d", now), time.strftime("%H%M%S", now)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SegmentationStorage, generate_uid()
    dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.Modality = generate_uid(), SERIES, "SEG"
    dataset.SeriesDescription, dataset.InstanceNumber = "Lesion segmentation", 1
    dataset.SeriesDate = dataset.ContentDate = dataset.InstanceCreationDate = day
    dataset.SeriesTime = dataset.ContentTime = dataset.InstanceCreationTime = clock
    dataset.Manufacturer, dataset.ManufacturerModelName = NAME, NAME
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", vivim.__version__
    dataset.ContentLabel, dataset.ContentDescription = "LESIONS", "Lesion segmentation"
    dataset.ContentCreatorName = ""
    if source.get("FrameOfReferenceUID"):
        dataset.FrameOfReferenceUID = source.FrameOfReferenceUID
        dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator", "")
    dataset.PatientOrientation = source.get("PatientOrientation", "")  # needed where there is no position
    instance = made(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    dataset.ReferencedSeriesSequence = [
        made(SeriesInstanceUID=source.SeriesInstanceUID, ReferencedInstanceSequence=[instance])
    ]


def _describe_pixels(dataset: Dataset, source: Dataset, frames: int) -> None:
    dataset.ImageType, dataset.SegmentationType = ["DERIVED", "PRIMARY"], "BINARY"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = source.Rows, source.Columns, frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.LossyImageCompression = "00"
    if source.get("LossyImageCompression") == "01":
        for keyword in LOSSY:
            if keyword in source:
                dataset[keyword] = source[keyword]


def _segment(work: Work, places: Sequence[Place], number: int) -> Dataset:
    """Describe a segment: a lesion, and whether a person, a model or both drew it."""
    lesion = places[0].lesion
    category = next(found.category for found in work.lesions.of(places[0].frame) if found.id == lesion)
    persons = [work.source.status(place.frame) in ("corrected", "accepted") for place in places]
    kind = "MANUAL" if all(persons) else "SEMIAUTOMATIC" if any(persons) else "AUTOMATIC"
    segment = made(
        SegmentNumber=number,
        SegmentLabel=f"{work.category(category)} {lesion}",
        SegmentAlgorithmType=kind,
        SegmentedPropertyCategoryCodeSequence=code("49755003", "SCT", "Morphologically Abnormal Structure"),
        SegmentedPropertyTypeCodeSequence=code("52988006", "SCT", "Lesion"),
        TrackingID=f"lesion {lesion}",
        TrackingUID=generate_uid(),
    )
    if kind != "MANUAL":
        segment.SegmentAlgorithmName = "Vivim"
    return segment


def _order(dataset: Dataset) -> None:
    """Say that frames are ordered by segment, then by the source's frame."""
    organization = generate_uid()
    dataset.DimensionOrganizationSequence = [made(DimensionOrganizationUID=organization)]
    dataset.DimensionIndexSequence = [
        made(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(pointer),
            FunctionalGroupPointer=tag_for_keyword(group),
            DimensionDescriptionLabel=pointer,
        )
        for pointer, group in (
            ("ReferencedSegmentNumber", "SegmentIdentificationSequence"),
            ("TemporalPositionIndex", "FrameContentSequence"),
        )
    ]


def _shared(work: Work, source: Dataset) -> Dataset:
    """What holds for all frames: size of a pixel, and position and direction where the source has them."""
    shared = Dataset()
    if work.source.pixel_spacing_mm:
        spacing = [f"{value:.9g}" for value in work.source.pixel_spacing_mm]
        thickness = source.get("SliceThickness") or NOMINAL_MM
        shared.PixelMeasuresSequence = [made(PixelSpacing=spacing, SliceThickness=thickness)]
    groups = (source.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for keyword in ("PlanePositionSequence", "PlaneOrientationSequence"):
        if keyword in groups:
            shared[keyword] = groups[keyword]
    if "ImagePositionPatient" in source and "ImageOrientationPatient" in source:
        shared.PlanePositionSequence = [made(ImagePositionPatient=source.ImagePositionPatient)]
        shared.PlaneOrientationSequence = [made(ImageOrientationPatient=source.ImageOrientationPatient)]
    return shared


def _frame(source: Dataset, t: int, segment: int, rank: int, own: Sequence[Dataset] | None) -> Dataset:
    """Which segment one frame shows, and which frame of the source it was drawn on.

    `rank` is its place among the moments that this object shows, as Temporal Position Index is defined.
    """
    reference = made(
        ReferencedSOPClassUID=source.SOPClassUID,
        ReferencedSOPInstanceUID=source.SOPInstanceUID,
        ReferencedFrameNumber=t + 1,
        PurposeOfReferenceCodeSequence=code("121322", "DCM", "Source image for image processing operation"),
        SpatialLocationsPreserved="YES",
    )
    derivation = made(
        DerivationCodeSequence=code("113076", "DCM", "Segmentation"), SourceImageSequence=[reference]
    )
    frame = made(
        FrameContentSequence=[made(DimensionIndexValues=[segment, rank], TemporalPositionIndex=rank)],
        DerivationImageSequence=[derivation],
        SegmentIdentificationSequence=[made(ReferencedSegmentNumber=segment)],
    )
    for keyword in ("PlanePositionSequence", "PlaneOrientationSequence"):
        if own and keyword in own[t]:
            frame[keyword] = own[t][keyword]
    return frame


DEFERRED = "64 KB"
"""Elements larger than this, the pixels above all, stay in the file."""
MOST_BYTES = 2**32 - 2
"""Longest value an element can have."""


def write_dicom_seg(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one segment a lesion, and for each a frame of one bit a pixel wherever it is seen."""
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
    """Header of the DICOM file that the masks were drawn on, with all that must be referred to."""
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
