"""No patient identifiers of a DICOM file in its session, its log, or the messages about it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import VivimError

pydicom = pytest.importorskip("pydicom")

IDENTIFIERS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19640812",
    "PatientAddress": "Heidestrasse 17",
    "InstitutionName": "Klinik Am Berg",
    "ReferringPhysicianName": "Doktor^Hase",
    "AccessionNumber": "ACC998877",
    "StudyID": "STUDY5566",
    "StudyDate": "20260401",
    "StudyDescription": "Verdacht auf Knoten",
    "OperatorsName": "Schwester^Agnes",
    "DeviceSerialNumber": "SN123454321",
}


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    """An ultrasound cine whose header tells everything about the patient."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(tmp_path / "cine.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = data.SeriesInstanceUID = generate_uid()
    data.Modality, data.NumberOfFrames, data.Rows, data.Columns = "US", 4, 40, 48
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.FrameTime = 7, 40.0
    for name, value in IDENTIFIERS.items():
        setattr(data, name, value)
    data.PixelData = np.random.default_rng(0).integers(0, 255, (4, 40, 48), dtype=np.uint8).tobytes()
    data.save_as(tmp_path / "cine.dcm", enforce_file_format=True)
    return tmp_path / "cine.dcm"


def test_a_session_says_nothing_of_the_patient(cine: Path, caplog: pytest.LogCaptureFixture, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    words = [part for value in IDENTIFIERS.values() for part in value.split("^")]
    uids = pydicom.dcmread(cine, stop_before_pixels=True)
    words += [str(uids.StudyInstanceUID), str(uids.SOPInstanceUID)]
    messages = []
    with Session.open(cine, author="ann") as session:
        mask = np.ones(session.shape[1:], np.uint8)
        session.propose(0, mask, "v1", uncertainty=0.5)
        session.correct(1, mask)
        session.accept(0)
        session.undo()
        assert session.video.frame(3).any()
    cine.write_bytes(cine.read_bytes() + b"\0\0")
    with pytest.raises(VivimError) as changed:
        Session.open(cine)
    messages.append(str(changed.value))
    cine.rename(cine.with_name("elsewhere.dcm"))
    with Session.open(session.folder) as again, pytest.raises(VivimError) as missing:
        _ = again.video
    messages.append(str(missing.value))
    out, err = capfd.readouterr()
    said = "\n".join([*messages, caplog.text, out, err])
    files = [path for path in session.folder.rglob("*") if path.is_file()]
    assert {"session.json", "ledger.jsonl"} <= {path.name for path in files}
    for word in words:
        assert word not in said
        for path in files:
            assert word.encode() not in path.read_bytes() and word not in path.name
