"""Sessions: the gate, resuming, one writer, crashes; each test named after the loss of work it prevents."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session
from vivim.errors import SessionError, VideoError
from vivim.session.mask_store import MaskStore


def blank(session: Session, value: int = 1) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def test_reopening_the_video_resumes(sample) -> None:
    with Session.open(sample.video, author="ann") as session:
        session.correct(3, sample.masks[3])
        session.propose(4, sample.masks[4], "v1", uncertainty=0.25, windows=0.0625)
        session.propose(5, sample.masks[5], "v1")
        session.accept(5)
        folder = session.folder
    assert folder == sample.video.with_name("frames.vivim")
    for path in (sample.video, folder):
        with Session.open(path) as again:
            assert [again.status(t) for t in range(3, 7)] == ["corrected", "proposed", "accepted", "empty"]
            np.testing.assert_array_equal(again.masks[3], sample.masks[3])
            assert again.uncertainty[4] == 0.25 and np.isnan(again.uncertainty[3])
            assert again.disagreement[4] == 0.0625 and np.isnan(again.disagreement[5])
            last = {entry.frame: entry for entry in again.entries()}
            assert (last[3].author, last[3].kind) == ("ann", "person")
            assert (last[4].author, last[4].kind) == ("v1", "model")
            assert last[4].time.endswith("Z")
            np.testing.assert_array_equal(again.video.frame(2), sample.frames[2])


def test_masks_on_disk_are_plain_zarr_one_frame_a_chunk(session: Session, sample) -> None:
    session.correct(2, sample.masks[2])
    session.flush()  # other readers see a mask once the disk has it
    array = zarr.open_array(str(session.folder / "masks.zarr"), mode="r")
    assert array.chunks == (1, *session.shape[1:])
    np.testing.assert_array_equal(array[2], sample.masks[2])


def test_a_model_never_writes_over_a_person(session: Session) -> None:
    session.correct(1, blank(session))
    session.propose(2, blank(session), "v1")
    session.accept(2)
    for t in (1, 2):
        assert session.propose(t, blank(session, 0), "v2") is False
        assert (np.asarray(session.masks[t]) == 1).all()
    session.reset(1)
    assert session.status(1) == "empty"
    assert session.propose(1, blank(session), "v2") is True


def test_nothing_here_is_a_person_s_word(session: Session) -> None:
    session.propose(1, blank(session), "v1", uncertainty=0.5)
    session.clear(1)
    session.clear(2)
    session.clear(2)
    for t in (1, 2):
        assert session.status(t) == "corrected" and not session.masks[t].any()
        assert session.propose(t, blank(session), "v2") is False
    assert session.vouched_frames() == [1, 2] and session.verify() == []
    assert session.undo() == [2] and session.status(2) == "empty"  # said twice, it is one step
    assert session.revert(1) and session.status(1) == "proposed" and session.masks[1].all()


def test_a_person_always_wins_against_a_hammering_model(session: Session) -> None:
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            for t in range(len(session)):
                session.propose(t, blank(session, 2), "v1")

    thread = threading.Thread(target=hammer)
    thread.start()
    for t in range(len(session)):
        session.correct(t, blank(session, 1))
    stop.set()
    thread.join()
    assert (np.asarray(session.masks[:]) == 1).all()
    assert set(session.frames_with("corrected")) == set(range(len(session)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from("cpaxzr"), st.integers(0, 5), st.integers(1, 3)), max_size=25)
)
def test_any_order_of_work_survives_reopening(sample, tmp_path_factory, steps) -> None:
    folder = tmp_path_factory.mktemp("any") / "s"
    session = Session.open(sample.video, folder=folder)
    expected = {t: ("empty", 0) for t in range(6)}
    for action, t, value in steps:
        status, _ = expected[t]
        if action == "c":
            session.correct(t, blank(session, value))
            expected[t] = ("corrected", value)
        elif action == "p":
            written = session.propose(t, blank(session, value), "v")
            assert written == (status in ("empty", "proposed"))
            expected[t] = ("proposed", value) if written else expected[t]
        elif action == "a":
            if status == "empty":
                with pytest.raises(SessionError, match="no mask to accept"):
                    session.accept(t)
            else:
                session.accept(t)
                expected[t] = ("accepted", expected[t][1])
        elif action == "x":
            session.clear(t)
            expected[t] = ("corrected", 0)
        elif action == "z":
            session.reset(t)
            expected[t] = ("empty", 0)
        else:
            session.close()
            session = Session.open(folder)
    session.close()
    with Session.open(folder, read_only=True) as again:
        for t, (status, value) in expected.items():
            assert (again.status(t), int(np.asarray(again.masks[t]).max())) == (status, value)


STROKES = """
import sys, numpy as np
from vivim import Session
session = Session.open(sys.argv[1])
editor = session.editable()
for stroke in range(10_000):
    t, row = stroke % len(session), 2 * (stroke // len(session)) % 60
    editor[t, row : row + 2, 5:15] = 1 + stroke % 7
    print(stroke, flush=True)
"""


@pytest.mark.parametrize("delay", [0.05, 0.13, 0.29])
def test_killed_between_two_strokes_every_earlier_stroke_is_there(sample, delay: float) -> None:
    with Session.open(sample.video) as made:
        folder = made.folder
    process = subprocess.Popen(
        [sys.executable, "-c", STROKES, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    acknowledged = max((int(line) for line in process.stdout.read().split()), default=0)
    process.wait()
    with Session.open(folder) as session:
        expected = np.zeros(session.shape, np.uint8)
        for stroke in range(acknowledged + 1):
            t, row = stroke % len(session), 2 * (stroke // len(session)) % 60
            expected[t, row : row + 2, 5:15] = 1 + stroke % 7
        unacknowledged = (acknowledged + 1) % len(session)
        for t in range(len(session)):
            if t != unacknowledged:
                np.testing.assert_array_equal(session.masks[t], expected[t])
        touched = min(acknowledged + 1, len(session))
        assert session.frames_with("corrected")[:touched] == list(range(touched))


def test_a_ledger_line_cut_short_by_a_crash_is_dropped_and_repaired(session: Session) -> None:
    session.correct(0, blank(session))
    session.correct(1, blank(session))
    session.close()
    ledger = session.folder / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + b'{"frame":2,"stat')
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0, 1]
        again.correct(5, blank(again))
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0, 1, 5]
    lines = ledger.read_bytes().splitlines()
    ledger.write_bytes(b"\n".join([lines[0], b"garbage", lines[1]]) + b"\n")
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0, 1, 5] and "Line 2" in again.ledger_damage[0]


def test_one_writer_many_readers(session: Session) -> None:
    session.correct(0, blank(session))
    with pytest.raises(SessionError, match="open in another window or program"):
        Session.open(session.folder)
    with Session.open(session.folder, read_only=True) as reader:
        assert reader.status(0) == "corrected"
        with pytest.raises(SessionError, match="reading only"):
            reader.correct(1, blank(session))
    session.close()
    Session.open(session.folder).close()


def test_a_moved_pair_of_video_and_session_still_fits(session: Session, sample, tmp_path: Path) -> None:
    session.correct(0, blank(session))
    session.close()
    (tmp_path / "elsewhere").mkdir()
    for path in (sample.video, session.folder):
        path.rename(tmp_path / "elsewhere" / path.name)
    with Session.open(tmp_path / "elsewhere" / "frames.vivim") as again:
        assert again.video.frame(0).shape == sample.frames[0].shape
    (tmp_path / "elsewhere" / "frames").rename(tmp_path / "gone")
    with Session.open(tmp_path / "elsewhere" / "frames.vivim") as again:
        assert again.status(0) == "corrected"
        with pytest.raises(SessionError, match="no longer at"):
            _ = again.video


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": 1, "video": "x"}'])
def test_a_damaged_description_is_one_clear_sentence(session: Session, content: str) -> None:
    session.close()
    (session.folder / "session.json").write_text(content)
    with pytest.raises(SessionError, match="damaged"):
        Session.open(session.folder)


def test_work_from_a_newer_version_is_left_alone(session: Session) -> None:
    session.close()
    path = session.folder / "session.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(SessionError, match="newer version"):
        Session.open(session.folder)


def test_lost_description_never_lets_masks_be_made_anew(session: Session, sample) -> None:
    session.correct(0, blank(session))
    session.close()
    (session.folder / "session.json").unlink()
    with pytest.raises(SessionError, match=r"no session\.json"):
        Session.open(sample.video)


def test_a_full_disk_loses_nothing_that_was_there(session: Session, monkeypatch) -> None:
    session.correct(0, blank(session))

    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MaskStore, "__setitem__", full)
    with pytest.raises(SessionError, match="No space left"):
        session.correct(0, blank(session, 2))
    with pytest.raises(SessionError, match="No space left"):
        session.propose(1, blank(session, 2), "v")
    monkeypatch.undo()
    assert session.status(1) == "empty"
    assert (np.asarray(session.masks[0]) == 1).all()
    session.correct(1, blank(session))
    session.close()
    with Session.open(session.folder) as again:
        assert again.frames_with("corrected") == [0, 1]


def test_a_folder_that_cannot_be_made_says_what_to_do(sample, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SessionError, match="Choose a session folder"):
        Session.open(sample.video, folder=tmp_path / "file" / "session")
    with pytest.raises(VideoError, match="no file or folder"):
        Session.open(tmp_path / "absent.mp4")


def test_wrong_masks_are_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="pixels"):
        session.correct(0, np.zeros((3, 3), np.uint8))
    with pytest.raises(ValueError, match="0 to 255"):
        session.correct(0, np.full(session.shape[1:], 300))
    with pytest.raises(IndexError):
        session.correct(len(session), blank(session))
    assert session.status(0) == "empty"


def test_listeners_hear_of_every_write_and_can_leave(session: Session) -> None:
    heard: list[tuple[int, str]] = []
    leave = session.on_change(lambda t, status: heard.append((t, status)))
    session.correct(1, blank(session))
    session.propose(2, blank(session), "v")
    session.accept(2)
    leave()
    session.correct(3, blank(session))
    assert heard == [(1, "corrected"), (2, "proposed"), (2, "accepted")]


def test_painting_one_frame_for_long_writes_few_lines(session: Session) -> None:
    for value in range(200):
        session.correct(0, blank(session, value % 5))
    assert len(list(session.entries())) == 1


def test_nothing_of_a_person_but_the_annotators_name_is_stored(session: Session) -> None:
    stored = json.loads((session.folder / "session.json").read_text())
    assert set(stored) == {
        "schema", "video", "size_bytes", "identity", "shape", "fps", "pixel_spacing_mm", "classes", "created",
        "earlier", "area",
    }  # fmt: skip


def test_a_video_without_a_session_says_where_one_may_be(tmp_path: Path, sample) -> None:
    with pytest.raises(SessionError, match=r"name the session instead: OUT/.*/session\.vivim"):
        Session.open(sample.video, folder=tmp_path / "absent", read_only=True)
    assert not (tmp_path / "absent").exists()


def test_what_was_done_last_is_known_after_a_restart(sample) -> None:
    with Session.open(sample.video) as session:
        assert session.latest("person") is None and session.latest("model") is None
        mask = np.ones(session.shape[1:], np.uint8)
        session.propose(3, mask, "v1")
        session.correct(5, mask)
        session.correct(2, mask)
    with Session.open(sample.video) as session:
        person, model = session.latest("person"), session.latest("model")
        assert person is not None and model is not None
        assert (person.frame, model.frame, model.author) == (2, 3, "v1")
