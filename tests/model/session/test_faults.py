"""Sessions when something goes wrong at an awkward moment: races, full disks, damaged folders, other threads."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session.mask_store import MaskStore


def no_space(*_) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def ones(session: Session) -> np.ndarray:
    return np.ones(session.shape[1:], np.uint8)


@pytest.mark.parametrize("before", ["empty", "proposed", "corrected", "accepted"])
def test_a_stroke_that_did_not_fit_on_the_disk_changes_neither_mask_nor_status(
    session: Session, monkeypatch, before: str
) -> None:
    if before != "empty":
        session.propose(2, ones(session), "v1", uncertainty=0.5)
    if before == "corrected":
        session.correct(2, ones(session))
    elif before == "accepted":
        session.accept(2)
    mask = np.asarray(session.masks[2])
    with monkeypatch.context() as patch:
        patch.setattr(MaskStore, "__setitem__", no_space)
        with pytest.raises(SessionError, match="No space left"):
            session.editable()[2, 3:9, 3:9] = 5
    uncertainty = session.uncertainty[2]
    session.close()
    with Session.open(session.folder) as again:
        assert session.status(2) == again.status(2) == before
        np.testing.assert_array_equal(again.masks[2], mask)
        np.testing.assert_equal(again.uncertainty[2], uncertainty)
        assert again.propose(2, ones(again), "v2") is (before in ("empty", "proposed"))


def test_a_proposal_written_while_a_frame_is_read_is_seen_next_time(session: Session, monkeypatch) -> None:
    editor, read = session.editable(), MaskStore.readable

    def read_late(masks: MaskStore, t: int) -> np.ndarray | None:
        found = read(masks, t)
        patch.undo()
        session.propose(5, ones(session), "v1")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(MaskStore, "readable", read_late)
        editor[5]
    assert editor[5].all()


def test_strokes_beside_a_hammering_model_are_all_kept(session: Session) -> None:
    editor, stop = session.editable(), threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            for t in range(len(session)):
                session.propose(t, ones(session) * 9, "v1")

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for t in range(len(session)):
        editor[t] = 1
        for row in range(0, 20, 5):
            editor[t, row : row + 5, 10:20] = 2
    stop.set()
    for thread in threads:
        thread.join()
    expected = np.ones(session.shape, np.uint8)
    expected[:, :20, 10:20] = 2
    np.testing.assert_array_equal(session.masks[:], expected)
    np.testing.assert_array_equal(editor[:], expected)


def test_a_session_that_failed_to_open_can_be_opened_once_repaired(session: Session) -> None:
    session.correct(0, ones(session))
    session.close()
    ledger = session.folder / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole.replace(b'"frame":0', b'"frame":99'))
    with pytest.raises(SessionError, match="frame 99") as failed:
        Session.open(session.folder)
    ledger.write_bytes(whole)
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0]
    assert failed.value is not None  # the error, kept for a report, keeps no lock


def test_closing_from_another_thread_lets_the_folder_go(session: Session) -> None:
    closer = threading.Thread(target=session.close)
    closer.start()
    closer.join()
    Session.open(session.folder).close()


def test_who_has_a_session_open_is_said(session: Session) -> None:
    import os

    with pytest.raises(SessionError, match=f"process {os.getpid()} on "):
        Session.open(session.folder)


def test_a_reset_frame_has_no_uncertainty_left(session: Session) -> None:
    session.propose(1, ones(session), "v1", uncertainty=0.5)
    session.reset(1)
    assert np.isnan(session.uncertainty[1])
    session.close()
    with Session.open(session.folder) as again:
        assert again.status(1) == "empty" and np.isnan(again.uncertainty[1])


@pytest.mark.parametrize("value", [0.7, -1.0, 256.0, np.nan])
def test_probabilities_are_not_taken_for_labels(session: Session, value: float) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        session.correct(0, np.full(session.shape[1:], value))
    session.correct(0, np.full(session.shape[1:], 1.0))
    assert session.masks[0].all()


@pytest.mark.parametrize("name", ["session.json", "ledger.jsonl"])
def test_a_file_that_cannot_be_read_is_one_clear_sentence(session: Session, monkeypatch, name: str) -> None:
    session.correct(0, ones(session))
    session.close()
    path = session.folder / name

    def denied(self, *args, **kwargs):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(self, *args, **kwargs)

    method = "read_text" if name == "session.json" else "open"
    original = getattr(type(path), method)
    monkeypatch.setattr(type(path), method, denied)
    with pytest.raises(SessionError, match=r"Permission denied\. Check"):
        Session.open(session.folder)
