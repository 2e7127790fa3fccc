"""A release holds approved frames alone, parts no patient, gives the same bytes, and opens with the other commands."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from phantom_readers import approve, open_reader, write_dicom
from PIL import Image
from vivim import ExportError, cli, make_phantom
from vivim.review.data_card import STUDY_SETTINGS
from vivim.review.release import OTHER_FORMATS, check_release, patients_of, release, study_settings
from vivim.training.datasets import find_clips, load_dataset

SALT = "00112233445566778899aabbccddeeff" * 2


def make_study(study: Path, clips: dict[str, str], frames: int = 4) -> Path:
    """Videos of patients, each approved. In each, frame 0 is ignored, and the last one only proposed."""
    for seed, (name, patient) in enumerate(clips.items()):
        path = study / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        phantom = make_phantom(frames=frames, size=(64, 72), seed=seed)
        write_dicom(path, phantom.frames, f"{patient}^Name", patient)
        with open_reader(path, "senior") as session:
            for t in range(frames - 1):
                session.correct(t, phantom.masks[t] * (t != 1))
            session.propose(frames - 1, phantom.masks[-1], "model 1")
            session.tag(0, "ignore")
            approve(session)
    (study / STUDY_SETTINGS).write_text(json.dumps({"salt": SALT, "title": "Phantoms", "licence": "CC0-1.0"}))
    return study


CLIPS = {f"scan-{k}": f"PID-{k // 2}" for k in range(8)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("made") / "study", CLIPS)


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "study")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def index_of(out: Path) -> list[dict[str, str]]:
    with (out / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_only_frames_that_a_person_vouched_for_are_released(study: Path, tmp_path: Path) -> None:
    found = release(study, tmp_path / "out")
    rows = index_of(tmp_path / "out")
    assert len(rows) == 8 * 2 and {row["frame"] for row in rows} == {"1", "2"}
    assert {row["lesion"] for row in rows if row["frame"] == "1"} == {"0"}
    assert all(clip.left_out.items() >= {"ignored": 1, "not looked at": 1}.items() for clip in found.clips)
    assert all(sum(clip.left_out.values()) == 2 for clip in found.clips)
    for row in rows:
        mask = np.asarray(Image.open(tmp_path / "out" / row["mask"]))
        assert (tmp_path / "out" / row["image"]).is_file()
        assert set(np.unique(mask)) <= {0, 255} and int(mask.any()) == int(row["lesion"])


def test_what_is_not_approved_stays_out(study: Path, tmp_path: Path) -> None:
    for name in ("draft", "locked"):
        phantom = make_phantom(frames=3, size=(64, 72), seed=50 + len(name))
        write_dicom(study / f"{name}.dcm", phantom.frames, "X", "PID-9")
        with open_reader(study / f"{name}.dcm", "senior") as session:
            session.correct(0, phantom.masks[0])
            if name == "locked":
                approve(session)
                session.set_state("locked", by="senior")
    found = release(study, tmp_path / "out")
    assert len(found.clips) == 9 and found.not_approved == 1
    assert "1 videos that are not approved" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_frame_changed_after_the_approval_stays_out(study: Path, tmp_path: Path) -> None:
    with open_reader(study / "scan-0.dcm", "senior") as session:
        session.set_state("draft", by="senior", reason="to look again")
        approve(session)  # in the second in which the frame is changed: times are kept to the second
        session.correct(2, np.ones(session.shape[1:], np.uint8))
    found = release(study, tmp_path / "out")
    assert sorted(clip.frames for clip in found.clips) == [1, *[2] * 7]
    assert sum(clip.left_out["changed after the approval"] for clip in found.clips) == 1


def test_no_patient_is_in_two_parts(study: Path, tmp_path: Path) -> None:
    release(study, tmp_path / "out")
    parts = defaultdict(set)
    clips = set()
    for row in index_of(tmp_path / "out"):
        parts[row["clip"].split("_")[0]].add(row["part"])
        clips.add(row["clip"])
    assert len(parts) == 4 and len(clips) == 8
    assert all(len(found) == 1 for found in parts.values())
    assert {part for found in parts.values() for part in found} == {"train", "validation", "test"}


def test_the_same_study_gives_the_same_bytes_wherever_it_lies(study: Path, tmp_path: Path) -> None:
    formats = list(OTHER_FORMATS)
    release(study, tmp_path / "one", formats=formats)
    study = study.rename(tmp_path / "moved")
    release(study, tmp_path / "two", formats=formats)
    one, two = bytes_of(tmp_path / "one"), bytes_of(tmp_path / "two")
    assert one.keys() == two.keys() and [name for name in one if one[name] != two[name]] == []


def test_another_salt_gives_other_names(study: Path, tmp_path: Path) -> None:
    one = release(study, tmp_path / "one")
    settings = json.loads((study / STUDY_SETTINGS).read_text("utf-8"))
    (study / STUDY_SETTINGS).write_text(json.dumps({**settings, "salt": SALT[::-1]}))
    two = release(study, tmp_path / "two")
    assert not {clip.name for clip in one.clips} & {clip.name for clip in two.clips}


def test_a_release_says_nothing_of_the_patient(study: Path, tmp_path: Path) -> None:
    release(study, tmp_path / "out", formats=OTHER_FORMATS)
    for name, data in bytes_of(tmp_path / "out").items():
        assert not re.search(rb"PID-|\^Name|scan-\d|" + SALT[:16].encode(), name.encode() + data), name
        assert str(tmp_path).encode() not in data, name


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are those of POSIX")
def test_the_salt_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = study_settings(tmp_path)
    assert study_settings(tmp_path) == first and len(bytes.fromhex(first["salt"])) == 32
    assert (tmp_path / STUDY_SETTINGS).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"salt": "no hex"}', '{"salt": "aa"}', '{"title": 5}', '{"creators": [{"name": "A"}]}'],
)
def test_damaged_settings_are_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / STUDY_SETTINGS).write_text(text)
    with pytest.raises(ExportError, match=STUDY_SETTINGS):
        study_settings(tmp_path)
    assert (tmp_path / STUDY_SETTINGS).read_text() == text


def test_checksums_are_those_of_sha256sum(study: Path, tmp_path: Path) -> None:
    release(study, tmp_path / "out")
    files = bytes_of(tmp_path / "out")
    lines = files.pop("SHA256SUMS").decode().splitlines()
    assert lines == [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]


def test_the_check_finds_what_is_changed_missing_or_added(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    release(study, out)
    assert check_release(out) == [] and cli.main(["release", "-o", str(out), "--check", "--json"]) == 0
    rows = index_of(out)
    (out / rows[0]["mask"]).write_bytes(b"changed")
    (out / rows[1]["image"]).unlink()
    (out / "train" / "more.txt").write_text("added")
    expected = {
        f"{rows[0]['mask']} has changed.", f"{rows[1]['image']} is missing.",
        "train/more.txt does not belong to the release.",
    }  # fmt: skip
    assert set(check_release(out)) == expected
    capsys.readouterr()
    assert cli.main(["release", "-o", str(out), "--check", "--json"]) == 1
    assert set(json.loads(capsys.readouterr().out)["problems"]) == expected


def test_what_is_no_release_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="folder of a release"):
        check_release(tmp_path)


def test_a_release_is_valid_croissant(study: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    settings = {"salt": SALT, "title": "Phantoms", "licence": "CC0-1.0", "creators": ["A. Person"]}
    settings |= {
        "date": "2026-12-01",
        "version": "1.0.0",
        "citation": "Person 2026",
        "url": "https://example.org/set",
    }
    (study / STUDY_SETTINGS).write_text(json.dumps(settings))
    release(study, tmp_path / "out")
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert not dataset.metadata.issues.errors and not dataset.metadata.issues.warnings
    assert "@context` is not standard" not in caplog.text
    assert dataset.metadata.name == "Phantoms"
    records = list(dataset.records("frames"))
    rows = index_of(tmp_path / "out")
    assert len(records) == len(rows)
    assert records[0]["frames/mask"].decode() == rows[0]["mask"] and records[0]["frames/frame"] == 1


def test_the_card_counts_what_is_there(study: Path, tmp_path: Path) -> None:
    release(study, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert card.startswith("# Phantoms\n") and "**Licence:** CC0-1.0" in card
    assert "| all | 4 | 8 | 16 | 8 |" in card
    assert ": 8 ignored, 0 changed after the approval, 0 damaged, 8 not looked at" in card
    assert "model 1" in card and "write `creators` into vivim-study.json" in card


def test_a_release_opens_as_a_data_set(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = release(study, out, formats=["coco"])
    assert {clip.name for clip in find_clips(out)} == {clip.name for clip in found.clips}
    clips = load_dataset(str(out), (64, 64))
    assert sum(len(clip.frames) for clip in clips) == 16
    assert sum(int(mask.any()) for clip in clips for mask in clip.masks) == 8


def test_several_classes_stay_apart(tmp_path: Path) -> None:
    """Also where one video has the first class alone."""
    study = make_study(tmp_path / "study", {"first": "PID-1"})
    phantom = make_phantom(frames=2, size=(64, 72), seed=9)
    write_dicom(study / "a.dcm", phantom.frames, "N", "PID-1")
    with open_reader(study / "a.dcm", "senior") as session:
        session.name_classes(["cyst", "tumour"])
        session.correct(0, phantom.masks[0])
        session.correct(1, phantom.masks[1] * 2)
        approve(session)
    release(study, tmp_path / "out")
    spec = str(tmp_path / "out" / "train")
    for label, drawn in ((1, [True, False]), (2, [False, True])):
        clips = load_dataset(f"{spec}:{label}", (64, 72))
        found = {tuple(bool(mask.any()) for mask in clip.masks) for clip in clips}
        assert found == {tuple(drawn), (False, label == 1)}
    assert "1 cyst, 2 tumour" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_classes_of_other_names_are_refused(study: Path, tmp_path: Path) -> None:
    for name, classes in (("scan-0", ["cyst", "tumour"]), ("scan-1", ["tumour", "cyst"])):
        with open_reader(study / f"{name}.dcm", "senior") as session:
            session.name_classes(classes)
    with pytest.raises(ExportError, match="same order"):
        release(study, tmp_path / "out")


def test_two_approved_sessions_ask_for_the_reader(study: Path, tmp_path: Path) -> None:
    with open_reader(study / "scan-0.dcm", "other") as session:
        session.correct(1, np.ones(session.shape[1:], np.uint8))
        approve(session)
    with pytest.raises(ExportError, match="--reader"):
        release(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found = release(study, tmp_path / "out", reader="other")
    assert [clip.reader for clip in found.clips] == ["other"] and found.not_approved == 7
    assert found.clips[0].agreement is not None and found.clips[0].agreement.overall.frames == 1


def test_a_release_is_never_written_over(study: Path, tmp_path: Path) -> None:
    release(study, tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    with pytest.raises(ExportError, match="never changed"):
        release(study, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == before


def test_the_same_video_twice_is_refused(study: Path, tmp_path: Path) -> None:
    shutil.copy(study / "scan-0.dcm", study / "again.dcm")
    with open_reader(study / "again.dcm", "senior") as session:
        session.correct(1, np.ones(session.shape[1:], np.uint8))
        approve(session)
    with pytest.raises(ExportError, match="the same video"):
        release(study, tmp_path / "out")


def test_patients_are_told_by_folders_or_a_table(tmp_path: Path) -> None:
    no_number = {"anna/one": "", "anna/two": "", "bert/one": ""}
    study = make_study(tmp_path / "study", no_number)
    found = release(study, tmp_path / "folders")
    assert sorted(found.counts(part)["patients"] for part in ("train", "test")) == [1, 1]
    table = dict.fromkeys(no_number, "one and the same")
    assert release(study, tmp_path / "table", patients=table).counts("train")["clips"] == 3
    with pytest.raises(ExportError, match="bert/one"):
        release(study, tmp_path / "missing", patients={"anna/one": "x", "anna/two": "x"})


def test_patients_who_cannot_be_told_apart_are_an_error(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", {"one": "", "two": ""})
    with pytest.raises(ExportError, match="--split clip"):
        release(study, tmp_path / "out")
    assert release(study, tmp_path / "out", split="clip").counts("train", "test")["patients"] == 0
    assert "A patient may be in two parts" in (tmp_path / "out" / "README.md").read_text("utf-8")
    some = make_study(tmp_path / "some", {"one": "PID-1", "two": ""})
    with pytest.raises(ExportError, match="Some DICOM headers"):
        release(some, tmp_path / "other")


def test_nothing_approved_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    write_dicom(study / "a.dcm", make_phantom(frames=2, size=(64, 72)).frames, "N", "P")
    with open_reader(study / "a.dcm", "senior") as session:
        session.correct(0, np.ones((64, 72), np.uint8))
    with pytest.raises(ExportError, match="Approve one"):
        release(study, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_format_that_names_the_patient_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="dicom-seg"):
        release(study, tmp_path / "out", formats=["dicom-seg"])


def test_no_patient_at_all_needs_no_table() -> None:
    assert patients_of([], None) == {}
