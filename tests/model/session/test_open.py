"""Opening: looking leaves no trace, and a video is never mistaken for another."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vivim import Session
from vivim.errors import SessionError, VideoChangedError, VideoMissingError
from vivim.session.metadata import Description


def ones(session: Session) -> np.ndarray:
    return np.ones(session.shape[1:], np.uint8)


def test_looking_makes_no_folder(sample) -> None:
    with Session.open(sample.video, lazy=True) as session:
        masks, editor = session.masks, session.editable()
        assert session.masks.shape == session.shape and not masks[3].any() and not np.asarray(masks).any()
        assert not editor[2:4].any() and session.status(0) == "empty" and list(session.entries()) == []
        editor[0, :, :] = 0
        with pytest.raises(SessionError, match="no mask to accept"):
            session.accept(0)
        assert not session.folder.exists()
    assert [path.name for path in sample.clip.iterdir() if path.suffix] == []


@pytest.mark.parametrize("how", ["draw", "propose"])
def test_the_first_mask_makes_the_folder(sample, how: str) -> None:
    with Session.open(sample.video, lazy=True) as session:
        masks = session.masks
        if how == "draw":
            session.editable()[3, 2:9, 2:9] = 1
        else:
            session.propose(3, ones(session), "v1")
        assert masks[3].any() and (session.folder / "session.json").is_file()
        with pytest.raises(SessionError, match="open in another window"):
            Session.open(session.folder)
    with Session.open(sample.video, lazy=True) as again:
        assert again.status(3) == ("corrected" if how == "draw" else "proposed") and again.masks[3].any()


def test_two_who_look_do_not_both_begin(sample) -> None:
    with Session.open(sample.video, lazy=True) as first, Session.open(sample.video, lazy=True) as second:
        first.correct(0, ones(first))
        with pytest.raises(SessionError, match="open in another window"):
            second.correct(1, ones(second))
        assert first.frames_with("corrected") == [0]
        first.close()
        with pytest.raises(SessionError, match="made by another window"):
            second.correct(1, ones(second))


def test_a_place_that_cannot_be_written_is_said_before_the_first_stroke(sample, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SessionError, match="Choose a session folder"):
        Session.open(sample.video, lazy=True)


def test_a_folder_that_goes_away_before_the_first_stroke_is_one_clear_sentence(
    sample, tmp_path: Path
) -> None:
    with Session.open(sample.video, folder=tmp_path / "new" / "s", lazy=True) as session:
        (tmp_path / "new").write_text("in the way")
        with pytest.raises(SessionError, match="Choose a session folder"):
            session.correct(0, ones(session))
        assert session.status(0) == "empty"
        (tmp_path / "new").unlink()
        session.correct(0, ones(session))
        assert session.status(0) == "corrected"


def rewrite(folder: Path, name: str, level: int) -> None:
    """The same picture in other bytes."""
    picture = Image.open(folder / name).copy()
    picture.save(folder / name, compress_level=level)


def open_with_video(path: Path) -> None:
    with Session.open(path) as session:
        _ = session.video


def test_a_video_encoded_anew_is_asked_about_and_may_be_relinked(session: Session, sample) -> None:
    session.correct(3, sample.masks[3])
    was = session.identity
    session.close()
    rewrite(sample.video, "0000.png", 0)
    for path in (sample.video, session.folder):
        with pytest.raises(VideoChangedError, match="encoded anew, or replaced") as asked:
            open_with_video(path)
        assert asked.value.relinkable and asked.value.folder == session.folder
        assert asked.value.video.name == "frames"
    with Session.open(session.folder) as again:
        assert again.status(3) == "corrected"  # the work can be seen without the video
    with Session.open(sample.video, relink=True) as again:
        assert again.status(3) == "corrected" and again.identity != was
    stored = json.loads((session.folder / "session.json").read_text())
    assert [earlier["identity"] for earlier in stored["earlier"]] == [was]
    for path in (sample.video, session.folder):
        with Session.open(path) as again:
            np.testing.assert_array_equal(again.video.frame(2), sample.frames[2])


def test_a_session_folder_can_be_relinked_too(session: Session, sample) -> None:
    session.close()
    rewrite(sample.video, "0000.png", 0)
    with Session.open(session.folder, read_only=True, relink=True) as reader:
        assert reader.video.frame(0) is not None
    with pytest.raises(VideoChangedError):
        Session.open(sample.video)
    Session.open(session.folder, relink=True).close()
    Session.open(sample.video).close()


@pytest.mark.parametrize("relink", [False, True])
@pytest.mark.parametrize("how", ["fewer", "smaller"])
def test_a_video_of_other_length_or_size_is_never_taken(
    session: Session, sample, how: str, relink: bool
) -> None:
    session.close()
    if how == "fewer":
        (sample.video / "0011.png").unlink()
    else:
        for path in sample.video.iterdir():
            Image.open(path).resize((44, 36)).save(path)
    before = (session.folder / "session.json").read_bytes()
    with pytest.raises(VideoChangedError, match="made for another video") as refused:
        Session.open(sample.video, relink=relink)
    assert not refused.value.relinkable
    assert (session.folder / "session.json").read_bytes() == before
    Session.open(session.folder).close()  # no lock was left


def test_a_renamed_video_finds_its_session(session: Session, sample) -> None:
    session.correct(3, sample.masks[3])
    session.close()
    renamed = sample.video.rename(sample.clip / "renamed")
    for path in (renamed, session.folder):
        with Session.open(path) as again:
            assert again.folder.samefile(session.folder) and again.status(3) == "corrected"
            np.testing.assert_array_equal(again.video.frame(2), sample.frames[2])
    assert json.loads((session.folder / "session.json").read_text())["video"] == "renamed"
    assert not (sample.clip / "renamed.vivim").exists()


def test_of_the_sessions_beside_a_video_only_those_are_read_whose_video_is_gone(
    session: Session, sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.close()
    for name in ("a", "b", "c"):
        shutil.copytree(sample.video, sample.clip / name)
        rewrite(sample.clip / name, "0000.png", 0)
        Session.open(sample.clip / name).close()
    read: list[str] = []
    read_description = Description.read

    def noted(path: Path) -> Description:
        read.append(path.parent.name)
        return read_description(path)

    monkeypatch.setattr(Description, "read", noted)
    shutil.copytree(sample.video, sample.clip / "new")
    with Session.open(sample.clip / "new", lazy=True):
        assert read == []
    renamed = sample.video.rename(sample.clip / "renamed")
    with Session.open(renamed) as again:
        assert again.folder.samefile(session.folder) and set(read) == {session.folder.name}


def test_a_video_renamed_twice_finds_its_session_though_another_took_its_first_name(
    session: Session, sample
) -> None:
    session.correct(3, sample.masks[3])
    session.close()
    once = sample.video.rename(sample.clip / "once")
    Session.open(once).close()
    shutil.copytree(once, sample.video)
    rewrite(sample.video, "0000.png", 0)
    with Session.open(once.rename(sample.clip / "twice")) as again:
        assert again.folder.samefile(session.folder) and again.status(3) == "corrected"


def test_a_session_opened_by_its_folder_finds_the_renamed_video(session: Session, sample) -> None:
    session.close()
    sample.video.rename(sample.clip / "renamed")
    with Session.open(session.folder) as again:
        assert again.video_path.name == "renamed"
        assert len(again.video) == len(again)
    assert json.loads((session.folder / "session.json").read_text())["video"] == "renamed"


def test_a_copy_of_a_video_has_a_session_of_its_own(session: Session, sample) -> None:
    session.correct(3, sample.masks[3])
    session.close()
    shutil.copytree(sample.video, sample.clip / "copy")
    with Session.open(sample.clip / "copy") as copy:
        assert copy.folder.name == "copy.vivim" and copy.status(3) == "empty"


def test_a_moved_video_is_opened_with_its_sessions_folder(session: Session, sample, tmp_path: Path) -> None:
    session.correct(3, sample.masks[3])
    session.close()
    (tmp_path / "archive").mkdir()
    moved = sample.video.rename(tmp_path / "archive" / "scan")
    with Session.open(session.folder) as again, pytest.raises(VideoMissingError, match="no longer at"):
        _ = again.video
    with Session.open(moved, folder=session.folder) as again:
        assert again.status(3) == "corrected"
    with Session.open(session.folder) as again:
        assert again.video_path == moved


def test_a_mask_changed_behind_the_sessions_back_is_found(session: Session, sample) -> None:
    for t in (1, 2, 3):
        session.correct(t, sample.masks[t])
        session.correct(t, sample.masks[t + 1])
    assert session.verify() == []
    session.close()
    chunk = session.folder / "masks.zarr" / "c"
    shutil.copy(chunk / "1" / "0" / "0", chunk / "2" / "0" / "0")
    (chunk / "3" / "0" / "0").write_bytes(b"short")
    with Session.open(session.folder) as again:
        assert again.verify() == [2, 3]
        with pytest.raises(SessionError, match=r"The mask of frame 3 .* cannot be read"):
            _ = again.masks[3]
        again.correct(3, sample.masks[4])  # drawing it anew is always possible
        assert again.verify() == [2]


def test_a_lost_ledger_never_leaves_a_persons_masks_to_a_model(session: Session, sample) -> None:
    session.correct(1, sample.masks[1])
    session.close()
    (session.folder / "ledger.jsonl").unlink()
    with Session.open(session.folder) as again:
        assert again.status(1) == "corrected" and again.damaged(1) and again.ledger_damage
        assert not again.propose(1, sample.masks[2], "v1")
        np.testing.assert_array_equal(again.masks[1], sample.masks[1])
