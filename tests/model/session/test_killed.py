"""What a killed program leaves behind is swept by the next, and only that."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session import flusher, write_queue
from vivim.session.mask_store import MaskStore


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def leave_behind(folder: Path) -> list[Path]:
    """What a kill at the worst moments leaves: each of our half-written files, and the lock's note."""
    left = [
        folder / "masks.zarr" / "c" / "1" / "0" / f"0.{'ab' * 16}.partial",
        folder / ".session.json.part",
        folder / "proposals" / ".9.part",
        folder / ".backup-schema-1.part" / "session.json",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    (folder / "lock.holder").write_text("process 1 on a machine long gone")
    return left


def test_half_written_files_go_at_the_next_opening(session: Session) -> None:
    session.correct(1, of(session, 1))
    session.close()
    assert not (session.folder / "lock.holder").exists()
    left = leave_behind(session.folder)
    kept = [session.folder / "notes.part", session.folder / ".mine"]
    for path in kept:
        path.write_text("a person's")
    Session.open(session.folder, read_only=True).close()
    assert all(path.exists() for path in left)
    with Session.open(session.folder) as again:
        assert not any(path.exists() for path in left) and all(path.exists() for path in kept)
        assert again.frames_with("corrected") == [1] and again.verify() == []
    assert not (session.folder / "lock.holder").exists()


def test_a_lock_left_by_the_dead_holds_nobody_up(session: Session) -> None:
    session.close()
    leave_behind(session.folder)
    with Session.open(session.folder) as again:
        again.correct(0, of(again, 1))
        with pytest.raises(SessionError, match=f"process {os.getpid()} on "):
            Session.open(session.folder)


@pytest.fixture
def stalled(session: Session, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Masks are on a share that does not answer until this is set."""
    session.correct(0, of(session, 1))
    answer, write = threading.Event(), MaskStore.__setitem__

    def stall(masks: MaskStore, t: int, pixels: np.ndarray) -> None:
        answer.wait(60)
        write(masks, t, pixels)

    monkeypatch.setattr(MaskStore, "__setitem__", stall)
    monkeypatch.setattr(write_queue, "SECONDS", 0.2)
    return answer


def test_a_share_that_stalls_is_said_in_time_and_loses_nothing(
    session: Session, stalled: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, str]] = []
    session.on_change(lambda t, status: heard.append((t, status)))
    for message in ("has not answered", "still does not answer"):
        with pytest.raises(SessionError, match=message):
            session.correct(3, of(session, 5))
    assert session.statuses[0] == 2 and heard == []  # reading does not wait
    monkeypatch.setattr(write_queue, "SECONDS", 60)
    stalled.set()
    while not heard:
        time.sleep(0.01)
    assert heard == [(3, "corrected")] and (session.masks[3] == 5).all()
    session.correct(4, of(session, 6))
    session.close()
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0, 3, 4] and again.verify() == []


def test_closing_does_not_wait_for_a_stalled_share_for_ever(
    session: Session, stalled: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SessionError, match="has not answered"):
        session.propose(3, of(session, 5), "v1")
    with pytest.raises(SessionError, match="could not be closed properly"):
        session.close()
    monkeypatch.setattr(write_queue, "SECONDS", 60)
    stalled.set()
    while (session.folder / "lock.holder").exists():
        time.sleep(0.01)
    with Session.open(session.folder) as again:  # closed after all, as soon as the share answered
        assert again.status(3) == "proposed" and again.verify() == []


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_folder_taken_away_while_working_is_noticed_before_anything_is_lost(
    session: Session, tmp_path: Path, how: str
) -> None:
    import shutil

    session.correct(0, of(session, 1))
    away = session.folder.rename(tmp_path / "away")
    if how == "removed":
        shutil.rmtree(away)
    elif how == "replaced":
        shutil.copytree(away, session.folder)
    for write in (
        lambda: session.correct(1, of(session, 1)),
        lambda: session.propose(2, of(session, 1), "v"),
        lambda: session.clear(0),
        lambda: session.undo(),
    ):
        with pytest.raises(SessionError, match="moved, removed or replaced"):
            write()
    assert session.folder.exists() == (how == "replaced")
    if how != "removed":
        session.close()
        with Session.open(away) as again:
            assert again.frames_with("corrected") == [0] and (again.masks[0] == 1).all()


def test_masks_taken_away_while_working_are_not_shown_as_empty(session: Session, tmp_path: Path) -> None:
    session.correct(0, of(session, 1))
    (session.folder / "masks.zarr").rename(tmp_path / "masks")
    with pytest.raises(SessionError, match="the folder is gone"):
        _ = session.masks[0]
    with pytest.raises(SessionError, match="moved or removed"):
        session.correct(1, of(session, 1))
    assert not (session.folder / "masks.zarr").exists()
    (tmp_path / "masks").rename(session.folder / "masks.zarr")
    session.correct(1, of(session, 1))
    assert session.frames_with("corrected") == [0, 1]


def test_a_folder_made_read_only_while_working_is_one_clear_sentence(session: Session, monkeypatch) -> None:
    session.correct(0, of(session, 1))

    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refused)
        with pytest.raises(SessionError, match=r"Permission denied\. Free some space or check the folder"):
            session.correct(1, of(session, 1))
    assert session.status(1) == "empty" and not list(session.folder.rglob("*.part"))
    session.correct(1, of(session, 1))


def test_a_frame_that_was_given_back_after_strokes_stays_empty_after_a_kill(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "SECONDS", 60.0)
    editor = session.editable()
    for row in (0, 10, 20):
        editor[4, row : row + 10, 5:30] = 1
        session.end_step()
    session.reset(4)
    copy = Path(shutil.copytree(session.folder, session.folder.with_name("killed.vivim")))
    with Session.open(copy) as found:
        assert found.status(4) == "empty" and not found.masks[4].any() and found.verify() == []


def test_nothing_here_after_a_stroke_stays_a_person_s_after_a_kill(session: Session) -> None:
    session.correct(4, of(session, 1))
    session.reset(4)
    session.editable()[4, 0:10, 5:30] = 1
    session.clear(4)  # so soon after the stroke that the ledger does not say it again
    session.flush()
    copy = Path(shutil.copytree(session.folder, session.folder.with_name("killed.vivim")))
    with Session.open(copy) as found:
        assert found.status(4) == "corrected" and not found.masks[4].any() and found.verify() == []
        assert found.undo() == [4] and found.undo() == [4] and found.status(4) == "empty"


def test_a_drawing_whose_mask_is_lost_after_a_kill_is_told(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "SECONDS", 60.0)
    session.propose(4, of(session, 1), "v1")
    session.correct(4, of(session, 2))
    copy = Path(shutil.copytree(session.folder, session.folder.with_name("killed.vivim")))
    (copy / "masks.zarr" / "c" / "4" / "0" / "waiting.2").write_bytes(b"")
    for _ in range(2):
        with Session.open(copy) as found:
            assert found.verify() == [4] and found.status(4) == "corrected"
            assert (found.masks[4] == 1).all() and not found.propose(4, of(found, 9), "v2")


@pytest.mark.parametrize("name", ["undo/00000002.undo", "proposals/3.mask"])
def test_a_folder_in_the_place_of_a_kept_file_keeps_nobody_from_working(session: Session, name: str) -> None:
    session.propose(3, of(session, 1), "v1")
    session.correct(3, of(session, 2))
    session.close()
    (session.folder / name).unlink(missing_ok=True)
    (session.folder / name).mkdir()
    with Session.open(session.folder) as again:
        for t in (3, 5):
            again.revert(t)
            again.propose(t, of(again, 3), "v2")
            again.correct(t, of(again, 4))
        assert again.undo() == [5] and again.redo() == [5] and again.verify() == []
