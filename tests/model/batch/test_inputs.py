"""Which videos are meant, and what their folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid
from vivim.batch.inputs import find, is_one
from vivim.errors import VideoError


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def write_dicom(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.NumberOfFrames = frames
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dcmwrite(path, dataset, enforce_file_format=True)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = tmp_path / "study"
    make(root, "p2/a.mp4", "p10/a.mp4", "p2/notes.txt", "p2/.hidden.mp4", "p1/clip/0.png", "p1/clip/1.png")
    make(root, "p1.avi", "p3/set/frames/0.jpg", "p3/set/masks/0.png", "p2/a.mp4.vivim/session.json")
    make(root, "out/p2/a/session.vivim/session.json", "out/p2/a/masks/000000.png")
    (root / "p4").mkdir()
    for number in (1, 2):
        write_dicom(root / "p4" / f"IM{number}", frames=30)
        write_dicom(root / "p5" / "series" / f"{number}.dcm", frames=1)
    make(root, "p6/a.nii.gz", "p6/DICOMDIR")
    (root / "p4" / "README").write_bytes(b"text")
    return root


def told(found) -> dict[str, str]:
    return {one.stem: one.path.name for one in found}


def test_a_folder_means_all_videos_in_it_but_for_the_output(study: Path) -> None:
    found = find([study], study / "out")
    assert told(found) == {
        "p1/clip": "clip",
        "p1-2": "p1.avi",
        "p2/a": "a.mp4",
        "p3/set": "set",
        "p4/IM1": "IM1",
        "p4/IM2": "IM2",
        "p5/series": "series",
        "p6/a": "a.nii.gz",
        "p10/a": "a.mp4",
    }
    assert [one.stem for one in found][-1] == "p10/a"


def test_globs_and_paths(study: Path, tmp_path: Path) -> None:
    assert list(told(find([study / "*" / "*.mp4"], tmp_path))) == ["p2/a", "p10/a"]
    assert list(told(find([study / "p*"], tmp_path))) == [
        "p1/clip",
        "p1-2",
        "p2/a",
        "p3/set",
        "p4/IM1",
        "p4/IM2",
        "p5/series",
        "p6/a",
        "p10/a",
    ]
    assert told(find([study / "p2/a.mp4", study / "p10/a.mp4"], tmp_path)) == {"a": "a.mp4", "a-2": "a.mp4"}
    assert told(find([study / "p2/a.mp4", study / "p2/a.mp4"], tmp_path)) == {"a": "a.mp4"}
    assert told(find([Path("absent.mp4")], tmp_path)) == {"absent": "absent.mp4"}
    assert list(told(find([study / "p2" / "*"], tmp_path))) == ["a"]
    assert list(told(find([study / "p2" / "*.vivim"], tmp_path))) == ["a"]
    for nothing in (study / "*.mov", study / "p4" / "nowhere*"):
        with pytest.raises(VideoError, match="no videos"):
            find([nothing], tmp_path)


def test_an_output_folder_around_the_videos_is_searched_but_for_what_was_written(study: Path) -> None:
    make(study, "p2/a/session.vivim/session.json", "p2/a/masks/000000.png")
    assert list(told(find([study / "p2"], study))) == ["a"]


def test_sessions_are_named_after_their_videos(study: Path, tmp_path: Path) -> None:
    found = find([study], tmp_path / "new", sessions=True)
    assert [(one.stem, one.path.relative_to(study).as_posix()) for one in found] == [
        ("out/p2/a", "out/p2/a/session.vivim"),
        ("p2/a", "p2/a.mp4.vivim"),
    ]
    assert told(find([study / "p2/a.mp4.vivim"], tmp_path, sessions=True)) == {"a": "a.mp4.vivim"}
    assert told(find([study / "out/p2/a/session.vivim"], tmp_path, sessions=True)) == {"a": "session.vivim"}
    with pytest.raises(VideoError, match="no sessions"):
        find([study / "p10"], tmp_path, sessions=True)


def test_names_of_videos_become_names_of_folders(tmp_path: Path) -> None:
    make(tmp_path, "seq.1/0.png", "c.mp4.vivim/session.json")
    given = [Path("x/a.b.mp4"), Path("y/a.b.avi"), tmp_path / "seq.1", tmp_path / "c.mp4.vivim"]
    assert [one.stem for one in find(given, tmp_path / "out")] == ["a.b", "a.b-2", "seq.1", "c"]


def test_one_or_many(study: Path) -> None:
    assert is_one(study / "p2/a.mp4") and is_one(study / "p1/clip") and is_one(Path("absent.mp4"))
    assert is_one(study / "p2/a.mp4.vivim")
    assert not is_one(study) and not is_one(study / "*.avi")
