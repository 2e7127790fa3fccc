"""Nothing that tells who the patient is leaves a DICOM cine, but for a DICOM Segmentation that was asked for."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
import vivim.cli
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from vivim import Session
from vivim.io.export import FORMATS, export

PREFIX = "1.2.826.0.1.3680043.77.123456."
SECRETS = {
    "PatientName": "Zweifel^Hedwig",
    "PatientID": "PID-7719-Q",
    "PatientBirthDate": "19510307",
    "OtherPatientNames": "Unruh^Hedwig",
    "PatientAddress": "Birkenweg 4711",
    "PatientTelephoneNumbers": "0815-334455",
    "PatientComments": "Nachbarin von Frau Habakuk",
    "AccessionNumber": "ACC55120",
    "StudyID": "ST-8841",
    "StudyDate": "20240229",
    "StudyTime": "113355",
    "StudyDescription": "Sono Schilddruese Kontrolle",
    "SeriesDescription": "Serie Quodlibet",
    "ReferringPhysicianName": "Krautwurst^Alois",
    "PerformingPhysicianName": "Tagblatt^Ida",
    "OperatorsName": "Schnabel^Udo",
    "InstitutionName": "Klinikum Wolkenkuckucksheim",
    "InstitutionAddress": "Am Kugelfang 9",
    "StationName": "RAUM-SIEBZEHN",
    "DeviceSerialNumber": "SN-99017-X",
    "ProtocolName": "Protokoll Habicht",
    "ImageComments": "Bild von Hedwig",
    "StudyInstanceUID": generate_uid(PREFIX),
    "SeriesInstanceUID": generate_uid(PREFIX),
    "FrameOfReferenceUID": generate_uid(PREFIX),
}
PRIVATE, NESTED, FOLDER = "Geheimakte-4-Xaver", "Verschachtelt-Anton", "Zweifel_Hedwig_19510307"


def needles() -> list[bytes]:
    """What must not be found: whole values, and names also word by word."""
    words = [*SECRETS.values(), PRIVATE, NESTED, FOLDER, PREFIX]
    words += [word for value in SECRETS.values() for word in value.replace("^", " ").split() if len(word) > 4]
    return sorted({word.lower().encode() for word in words if word.lower() not in ("serie", "kontrolle")})


@pytest.fixture
def cine(make_cine: Callable[..., Path], tmp_path: Path) -> Path:
    """A cine full of identifiers, in a folder named after the patient."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    path = make_cine(folder / "cine.dcm", **SECRETS)
    dataset = pydicom.dcmread(path)
    dataset.private_block(0x0011, "SECRETIVE MAKER", create=True).add_new(0x01, "LO", PRIVATE)
    item = Dataset()
    item.PatientID = NESTED
    dataset.OtherPatientIDsSequence = [item]
    dataset.save_as(path)
    return path


@pytest.fixture
def worked(cine: Path) -> Iterator[Session]:
    with Session.open(cine, author="annotator") as session:
        for t in range(len(session)):
            mask = np.zeros(session.shape[1:], np.uint8)
            mask[8:22, 8 + t : 22 + t] = 1
            session.propose(t, mask, "v1", 0.1)
        session.correct(3, np.zeros(session.shape[1:], np.uint8))
        session.accept(4)
        yield session


def unpacked(path: Path) -> bytes:
    """Bytes of a file, and what is packed in it: text of pictures, pages of TIFF, gzip, names."""
    raw = path.read_bytes()
    found = [raw, path.name.encode()]
    if path.suffix == ".gz":
        found.append(gzip.decompress(raw))
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as picture:
            found.append(repr(picture.info).encode())
            found.append(np.asarray(picture).tobytes())
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            found += [repr((tag.name, tag.value)).encode() for page in file.pages for tag in page.tags]
    if path.suffix == ".png":
        at = raw.find(b"zTXt")
        found += [zlib.decompress(raw[raw.index(b"\0", at) + 2 :])] if at >= 0 else []
    return b"\n".join(found)


def found_in(paths: list[Path]) -> list[str]:
    hits = []
    for path in paths:
        content = unpacked(path).lower()
        wide = content.replace(b"\0", b"")  # as UTF-16 would have it
        hits += [f"{path.name}: {word.decode()}" for word in needles() if word in content or word in wide]
    return hits


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_search_finds_what_is_there(cine: Path) -> None:
    hits = " ".join(found_in([cine]))
    assert all(word.lower() in hits for word in (*SECRETS.values(), PRIVATE, NESTED))


def test_no_export_session_or_log_says_who_the_patient_is(
    worked: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    formats = [name for name in FORMATS if name != "dicom-seg"]
    list(export(worked, out, formats))
    list(export(worked, tmp_path / "part", formats, only="corrected", min_area_px=3, fill_holes=True))
    worked.undo()
    worked.close()
    written = files(out) + files(tmp_path / "part")
    kept = files(worked.folder)
    assert {path.suffix for path in written} == {".png", ".jpg", ".json", ".tif", ".gz", ".mp4", ".csv"}
    assert {"session.json", "ledger.jsonl"} <= {path.name for path in kept}
    assert found_in(written + kept) == []
    names = [str(path.relative_to(tmp_path)).lower() for path in written]
    names += [str(path.relative_to(worked.folder)).lower() for path in kept]
    assert not [name for name in names if any(word.decode() in name for word in needles())]
    ours = ("vivim", "napari_vivim")  # filelock names the lock it takes, but only to who asks it to say all
    logged = [r for r in caplog.records if r.levelno >= logging.INFO or r.name.startswith(ours)]
    said = " ".join(record.getMessage() for record in logged).lower().encode()
    assert not [word for word in needles() if word in said]


def test_the_command_line_prints_no_patient(worked: Session, tmp_path: Path, capfd) -> None:
    worked.close()
    words = [word for name in FORMATS if name != "dicom-seg" for word in ("--format", name)]
    assert vivim.cli.main(["export", str(worked.folder), "-o", str(tmp_path / "out"), *words]) == 0
    out, err = capfd.readouterr()
    said = (out + err).lower().replace(str(worked.folder).lower(), "")
    assert not [word for word in needles() if word.decode() in said]


def test_a_segmentation_holds_the_patient_but_not_everything_else(worked: Session, tmp_path: Path) -> None:
    list(export(worked, tmp_path / "out", ["dicom-seg"]))
    seg = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    assert str(seg.PatientName) == SECRETS["PatientName"]
    content = unpacked(tmp_path / "out" / "segmentation.dcm")
    for secret in ("PatientAddress", "InstitutionName", "OperatorsName", "PatientComments", "ImageComments"):
        assert SECRETS[secret].encode() not in content
    assert PRIVATE.encode() not in content


def test_a_session_away_from_its_video_does_not_name_the_folders_that_lead_there(
    cine: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those are named after the patient; they stand in the user's own folder only."""
    away = tmp_path / "sessions" / "a.vivim"
    for where in (cine, away):
        with Session.open(where, folder=away, author="annotator") as session:
            session.propose(0, np.ones(session.shape[1:], np.uint8), "v1", 0.1)
            session.set_area((0, 0, 16, 16))
            assert session.video.frame(0).any()
    assert found_in(files(away)) == []
    said = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("vivim")).lower()
    assert FOLDER.lower() not in said
