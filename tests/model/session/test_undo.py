"""What a person overwrote can be taken back, also in the next run of the program."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def state(session: Session, t: int) -> tuple[str, int]:
    return session.status(t), int(session.masks[t].max())


def again(session: Session) -> Session:
    session.close()
    return Session.open(session.folder)


def test_a_stroke_is_taken_back_after_a_restart(session: Session) -> None:
    session.propose(3, of(session, 1), "v1", uncertainty=0.5)
    editor = session.editable()
    for row in range(0, 20, 2):
        editor[3, row, :] = 2
    painted = session.masks[3]
    with again(session) as session:
        assert session.undo_frames() == [3] and session.undo() == [3]
        assert state(session, 3) == ("proposed", 1) and session.uncertainty[3] == 0.5
        assert [entry.author for entry in session.entries()][-1] == "v1"
        assert session.undo() == []
        with again(session) as session:
            assert session.redo_frames() == [3] and session.redo() == [3]
            assert session.status(3) == "corrected"
            np.testing.assert_array_equal(session.masks[3], painted)
            assert session.redo() == [] and session.verify() == []


def test_steps_are_taken_back_in_order_whichever_frame_they_were_done_to(session: Session) -> None:
    session.propose(1, of(session, 1), "v1")
    session.correct(1, of(session, 2))
    session.end_step()
    session.correct(1, of(session, 3))
    session.correct(2, of(session, 9))
    session.correct(1, of(session, 4))
    session.accept(1)
    session.reset(1)
    past = [
        (1, ("proposed", 1)),
        (1, ("corrected", 2)),
        (2, ("empty", 0)),
        (1, ("corrected", 3)),
        (1, ("corrected", 4)),
        (1, ("accepted", 4)),
    ]
    with again(session) as session:
        for t, expected in reversed(past):
            assert session.undo() == [t] and state(session, t) == expected
        assert session.undo() == []
        for t, _ in past:
            assert session.redo() == [t]
        assert session.redo() == [] and state(session, 2) == ("corrected", 9)
        assert state(session, 1) == ("empty", 0) and session.verify() == []


def test_new_work_forgets_what_could_be_redone(session: Session) -> None:
    session.correct(1, of(session, 1))
    assert session.undo() == [1] and state(session, 1) == ("empty", 0)
    session.correct(2, of(session, 2))
    assert session.redo() == [] and state(session, 1) == ("empty", 0)


def test_a_model_never_costs_a_person_the_way_back(session: Session) -> None:
    session.correct(1, of(session, 7))
    session.reset(1)
    session.propose(1, of(session, 1), "v1")
    assert session.undo() == [1] and state(session, 1) == ("corrected", 7)
    assert not session.propose(1, of(session, 1), "v2")


def test_only_the_latest_steps_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.session.frame_snapshots.STEPS_KEPT", 10)
    for value in (1, 2):
        for t in range(len(session)):
            session.correct(t, of(session, value))
    assert len(list((session.folder / "undo").iterdir())) == 10
    with again(session) as session:
        back = [session.undo() for _ in range(10)]
        assert back == [[t] for t in reversed(range(len(session) - 10, len(session)))]
        assert session.undo() == [] and len(list((session.folder / "undo").iterdir())) == 10
        assert [session.masks[t].max() for t in range(len(session))] == [2] * (len(session) - 10) + [1] * 10


def test_many_frames_are_accepted_and_taken_back_in_one_step(session: Session) -> None:
    for t in range(2, 7):
        session.propose(t, of(session, t), "v1", uncertainty=0.25)
    session.correct(3, of(session, 9))
    session.accept(5)
    assert session.accept_frames(range(7)) == [2, 3, 4, 6]
    statuses = {t: session.status(t) for t in range(7)}
    assert statuses == {0: "empty", 1: "empty"} | dict.fromkeys(range(2, 7), "accepted")
    with again(session) as session:
        assert session.verify() == []
        assert session.undo() == [2, 3, 4, 6]
        assert [session.status(t) for t in range(2, 7)] == [
            "proposed",
            "corrected",
            "proposed",
            "accepted",
            "proposed",
        ]
        assert session.uncertainty[4] == 0.25 and state(session, 3) == ("corrected", 9)
        assert session.redo() == [2, 3, 4, 6] and session.verify() == []


def test_several_frames_of_one_write_are_one_step(session: Session) -> None:
    editor = session.editable()
    editor[2:5, 3:9, 3:9] = 1
    editor[2:5, 6:12, 3:9] = 1  # the brush moves on
    session.end_step()
    editor[np.array([2, 3]), np.array([0, 0]), np.array([0, 0])] = 2
    with session.one_step():
        session.correct(7, of(session, 1))
        session.reset(8)
        session.correct(9, of(session, 1))
    assert session.undo() == [7, 9]  # frame 8 was empty and is
    assert session.undo() == [2, 3] and session.masks[2][8, 4] == 1
    assert session.undo() == [2, 3, 4] and not session.masks[:].any()


def test_the_model_s_proposal_comes_back(session: Session) -> None:
    assert not session.revert(0)
    session.propose(1, of(session, 1), "v1", uncertainty=0.5)
    assert not session.revert(1)
    session.correct(1, of(session, 2))
    session.end_step()
    session.correct(1, of(session, 3))
    with again(session) as session:
        assert session.revert(1) and state(session, 1) == ("proposed", 1)
        assert session.uncertainty[1] == 0.5 and [e.author for e in session.entries()][-1] == "v1"
        assert session.undo() == [1] and state(session, 1) == ("corrected", 3)
        assert session.revert(1) and session.propose(1, of(session, 4), "v2")
        session.accept(1)
        assert session.revert(1) and state(session, 1) == ("proposed", 4)
        session.accept(1)
        with again(session) as session:
            session.correct(1, of(session, 5))
            assert session.revert(1) and state(session, 1) == ("proposed", 4)
            assert [entry.author for entry in session.entries()][-1] == "v2" and session.verify() == []


def test_a_person_s_own_mask_is_no_proposal(session: Session) -> None:
    session.correct(1, of(session, 2))
    session.accept(1)
    assert not session.revert(1)
    session.correct(1, of(session, 3))
    assert not session.revert(1) and state(session, 1) == ("corrected", 3)


def test_a_damaged_state_is_passed_over(session: Session) -> None:
    for value in (1, 2, 3):
        session.correct(1, of(session, value))
        session.correct(2, of(session, value))
    session.close()
    steps = sorted((session.folder / "undo").iterdir())
    raw = bytearray(steps[-2].read_bytes())
    raw[-3] ^= 0xFF
    steps[-2].write_bytes(raw)
    (session.folder / "undo" / "notes.txt").write_text("not ours")
    with Session.open(session.folder) as session:
        assert session.undo() == [2]
        assert session.undo() == [2] and state(session, 2) == ("corrected", 1)
        assert session.undo() == [1] and state(session, 1) == ("corrected", 1)
        assert not steps[-2].exists() and (session.folder / "undo" / "notes.txt").exists()


def test_a_step_cut_short_by_a_crash_gives_back_what_is_whole(session: Session) -> None:
    with session.one_step():
        session.correct(1, of(session, 1))
        session.correct(2, of(session, 2))
    session.close()
    (step,) = (session.folder / "undo").iterdir()
    step.write_bytes(step.read_bytes()[:-4])
    with Session.open(session.folder) as session:
        assert session.undo() == [1] and state(session, 2) == ("corrected", 2)


def test_looking_for_something_to_undo_makes_no_folder(sample) -> None:
    with Session.open(sample.video, lazy=True) as session:
        assert session.undo() == session.redo() == session.undo_frames() == []
        assert not session.folder.exists()


def test_listeners_hear_of_undoing(session: Session) -> None:
    session.correct(1, of(session, 1))
    heard: list[tuple[int, str]] = []
    session.on_change(lambda t, status: heard.append((t, status)))
    editor = session.editable()
    assert editor[1].any()
    session.undo()
    assert heard == [(1, "empty")] and not editor[1].any()
    assert not session.undo() and len(heard) == 1


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    actions=st.lists(
        st.tuples(st.sampled_from("csavpuur!"), st.integers(0, 2), st.integers(1, 3)), max_size=20
    )
)
def test_undo_and_redo_follow_one_stack_through_restarts(sample, tmp_path_factory, actions) -> None:
    session = Session.open(sample.video, folder=tmp_path_factory.mktemp("undo") / "s")
    now = {t: ("empty", 0) for t in range(3)}
    proposal: dict[int, tuple[str, int]] = {}
    back: list[dict] = []
    forth: list[dict] = []
    open_frames: set[int] = set()

    def begin(*frames: int) -> None:
        """A step of its own, as the session would keep it."""
        back.append({t: now[t] for t in frames})
        forth.clear()
        open_frames.clear()

    def vouched(t: int) -> bool:
        return now[t][0] in ("corrected", "accepted")

    for action, t, value in actions:
        if action == "!":
            session = again(session)
            open_frames.clear()
        elif action == "p":
            assert session.propose(t, of(session, value), "v") == (not vouched(t))
            if not vouched(t):
                now[t] = proposal[t] = ("proposed", value)
                open_frames.discard(t)
        elif action == "c":
            if t not in open_frames:
                begin(t)
                open_frames.add(t)
            session.correct(t, of(session, value))
            now[t] = ("corrected", value)
        elif action == "s":
            session.end_step()
            open_frames.clear()
        elif action == "a":
            able = [f for f in range(3) if now[f][0] in ("proposed", "corrected")]
            open_frames.clear()
            if able:
                begin(*able)
            assert session.accept_frames(range(3)) == able
            now |= {f: ("accepted", now[f][1]) for f in able}
        elif action == "v":
            open_frames.clear()
            able = t in proposal and now[t] != proposal[t]
            if able:
                begin(t)
            assert session.revert(t) == able
            now[t] = proposal[t] if able else now[t]
        else:
            source, other = (back, forth) if action == "u" else (forth, back)
            open_frames.clear()
            expected: list[int] = []
            while source and not expected:
                step = source.pop()
                expected = [f for f, was in step.items() if was != now[f]]
                if expected:
                    other.append({f: now[f] for f in expected})
                    now |= {f: step[f] for f in expected}
                    proposal |= {f: step[f] for f in expected if step[f][0] == "proposed"}
            assert (session.undo if action == "u" else session.redo)() == expected
        assert {t: state(session, t) for t in range(3)} == now
    session.close()
    with Session.open(session.folder, read_only=True) as reader:
        assert {t: state(reader, t) for t in range(3)} == now and reader.verify() == []


def test_undoing_beside_a_hammering_model(session: Session) -> None:
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            session.propose(1, of(session, 9), "v1")

    session.correct(1, of(session, 1))
    thread = threading.Thread(target=hammer)
    thread.start()
    for _ in range(10):
        assert session.undo() == [1]
        assert session.redo() == [1] and state(session, 1) == ("corrected", 1)
    stop.set()
    thread.join()


def test_two_who_work_at_once_have_steps_of_their_own(session: Session) -> None:
    def other() -> None:
        with session.one_step():
            session.correct(5, of(session, 1))
            ready.set()
            assert go_on.wait(60)
            session.correct(6, of(session, 1))

    ready, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(60)
    session.correct(1, of(session, 1))
    go_on.set()
    thread.join()
    assert session.undo() == [1] and session.undo() == [5, 6]


def test_what_a_model_proposes_within_one_step_is_taken_back_as_one(session: Session) -> None:
    for t in range(4):
        session.propose(t, of(session, 1), "first")
    session.correct(1, of(session, 2))
    with session.one_step():
        written = [session.propose(t, of(session, 3), "second") for t in range(6)]
    assert written == [True, False, True, True, True, True]
    assert sorted(session.undo()) == [0, 2, 3, 4, 5]
    assert [session.status(t) for t in range(6)] == [
        "proposed",
        "corrected",
        *["proposed"] * 2,
        "empty",
        "empty",
    ]
    assert np.array_equal(session.masks[0], of(session, 1)) and not session.masks[5].any()
    assert sorted(session.redo()) == [0, 2, 3, 4, 5] and np.array_equal(session.masks[5], of(session, 3))
    assert len(session.undo()) == 5 and session.undo() == [1]
