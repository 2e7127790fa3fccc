"""A session away from its video finds it again, and yet does not say through which folders."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from vivim import Session
from vivim.errors import SessionError, VideoMissingError

PATIENT = "Zweifel_Hedwig_19510307"


@pytest.fixture
def video(sample, tmp_path: Path) -> Path:
    """A video in a folder named after its patient."""
    (tmp_path / PATIENT).mkdir()
    return sample.video.rename(tmp_path / PATIENT / "scan")


@pytest.fixture
def away(video: Path, tmp_path: Path) -> Path:
    with Session.open(video, folder=tmp_path / "sessions" / "a.vivim", author="ann") as session:
        session.propose(1, session.masks[1], "v1")
    return session.folder


def says(folder: Path) -> list[Path]:
    """Files of a session that name the patient."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if PATIENT.encode() in path.read_bytes() or PATIENT in path.name]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_session_away_from_its_video_finds_it_and_does_not_name_its_folders(
    away: Path, video: Path, read_only: bool
) -> None:
    assert json.loads((away / "session.json").read_text())["video"] == "scan"
    with Session.open(away, read_only=read_only) as session:
        assert session.video_path == video and session.video.frame(0).any()
    assert says(away) == []


def test_who_never_saw_the_video_is_asked_for_it_once(
    away: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIVIM_HOME", str(tmp_path / "a colleague's"))
    with (
        Session.open(away) as session,
        pytest.raises(VideoMissingError, match="open it where it is now") as error,
    ):
        _ = session.video
    assert PATIENT not in str(error.value)
    Session.open(video, folder=away).close()
    (note,) = (tmp_path / "a colleague's" / "videos").iterdir()
    assert note.read_text() == str(video) and note.stat().st_mode & 0o077 == 0
    with Session.open(away) as session:
        assert session.video_path == video


def test_a_lazy_session_notes_the_place_once_there_is_something_to_find(
    video: Path, tmp_path: Path, vivim_home: Path
) -> None:
    with Session.open(video, folder=tmp_path / "b.vivim", lazy=True) as session:
        assert not (vivim_home / "videos").exists()
        session.correct(0, session.masks[0])
    with Session.open(session.folder) as session:
        assert session.video_path == video


def test_a_session_beside_its_video_needs_no_note(session: Session, vivim_home: Path) -> None:
    assert not (vivim_home / "videos").exists()


def test_another_video_of_the_name_beside_the_session_is_not_taken(away: Path, video: Path, sample) -> None:
    other = away.parent / video.name
    (sample.clip / "masks").rename(other)
    with Session.open(away) as session:
        assert session.video_path == video and len(session.video) == len(session)


def test_a_place_that_cannot_be_noted_is_told_to_the_log(
    video: Path, tmp_path: Path, vivim_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (vivim_home / "videos").write_text("a file where the folder should be")
    with Session.open(video, folder=tmp_path / "c.vivim") as session:
        assert session.video_path == video
    assert "could not be noted" in caplog.text and PATIENT not in caplog.text
    assert [r.levelno for r in caplog.records if r.name.startswith("vivim")] == [logging.WARNING]


@pytest.mark.parametrize("note", [b"", b"relative/path", b"\0", b"x" * 100_000])
def test_a_damaged_note_is_none(away: Path, vivim_home: Path, note: bytes) -> None:
    (path,) = (vivim_home / "videos").iterdir()
    path.write_bytes(note)
    with Session.open(away) as session, pytest.raises(VideoMissingError):
        _ = session.video


def test_the_folders_an_older_version_kept_go_into_the_users_own(
    away: Path, video: Path, vivim_home: Path
) -> None:
    kept = {**json.loads((away / "session.json").read_text()), "schema": 2, "video": f"../../{PATIENT}/scan"}
    (away / "session.json").write_text(json.dumps(kept))
    (away / "backup-schema-1").mkdir()
    (away / "backup-schema-1" / "session.json").write_text(json.dumps({**kept, "schema": 1}))
    (vivim_home / "videos" / kept["identity"]).unlink()
    with Session.open(away, read_only=True) as session:
        assert session.video_path == video
    assert len(says(away)) == 2
    Session.open(away).close()
    with Session.open(away) as session:
        assert session.video_path == video
    assert says(away) == []
    backups = [json.loads((away / f"backup-schema-{n}" / "session.json").read_text()) for n in (1, 2)]
    assert [(b["schema"], b["video"]) for b in backups] == [(1, "../scan"), (2, "../scan")]
    assert backups[1] == {**kept, "video": "../scan"}


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
@pytest.mark.parametrize("told", ["../../..", "..", ".", "/", "", "../../secrets/scan", "/etc/..", "..\\.."])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_session_that_tells_of_no_video_leads_nowhere(
    away: Path, video: Path, vivim_home: Path, schema: int, told: str, read_only: bool
) -> None:
    """As somebody else may hand it over; only what older versions wrote may name other folders."""
    values = {**json.loads((away / "session.json").read_text()), "schema": schema, "video": told}
    (away / "session.json").write_text(json.dumps(values))
    (vivim_home / "videos" / values["identity"]).unlink()
    secret = (
        away.parents[1].parent / "secrets" / "scan" if schema < 3 else away.parents[1] / "secrets" / "scan"
    )
    with Session.open(away, read_only=read_only) as session:
        at = session.video_path
        assert not at.exists() and (
            at.parent in (away, away.parent) or at == away.parents[1] / "secrets" / "scan"
        )
        with pytest.raises(VideoMissingError):
            _ = session.video
    assert not secret.exists()


@pytest.mark.parametrize("earlier", [{"a": 1}, "text", [["a"]], [1], None, [{"identity": 3}]])
def test_earlier_videos_that_are_none_are_damage(session: Session, earlier: object) -> None:
    session.close()
    values = {**json.loads((session.folder / "session.json").read_text()), "earlier": earlier}
    (session.folder / "session.json").write_text(json.dumps(values))
    with pytest.raises(SessionError, match="damaged"):
        Session.open(session.folder)
