"""What a person overwrote can be taken back, also in the next run of the program."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session
from vivim.session.undo import STEPS_KEPT


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def state(session: Session, t: int) -> tuple[str, int]:
    return session.status(t), int(session.masks[t].max())


def again(session: Session) -> Session:
    session.close()
    return Session.open(session.folder)


def test_strokes_of_one_visit_are_taken_back_together_after_a_restart(session: Session) -> None:
    session.propose(3, of(session, 1), "v1", uncertainty=0.5)
    editor = session.editable()
    for row in range(0, 20, 2):
        editor[3, row, :] = 2
    painted = session.masks[3]
    with again(session) as session:
        assert session.undo(3)
        assert state(session, 3) == ("proposed", 1) and session.uncertainty[3] == 0.5
        assert [entry.author for entry in session.entries()][-1] == "v1"
        assert not session.undo(3)
        with again(session) as session:
            assert session.redo(3)
            assert session.status(3) == "corrected"
            np.testing.assert_array_equal(session.masks[3], painted)
            assert not session.redo(3) and session.verify() == []


def test_each_visit_accepting_and_clearing_is_a_step(session: Session) -> None:
    session.propose(1, of(session, 1), "v1")
    session.correct(1, of(session, 2))
    session.correct(2, of(session, 9))
    session.correct(1, of(session, 3))
    session.accept(1)
    session.clear(1)
    states = [("empty", 0), ("accepted", 3), ("corrected", 3), ("corrected", 2), ("proposed", 1)]
    with again(session) as session:
        for expected in states[1:]:
            assert session.undo(1) and state(session, 1) == expected
        assert not session.undo(1)
        for expected in reversed(states[:-1]):
            assert session.redo(1) and state(session, 1) == expected
        assert state(session, 2) == ("corrected", 9) and session.verify() == []


def test_new_work_forgets_what_could_be_redone(session: Session) -> None:
    session.correct(1, of(session, 1))
    assert session.undo(1) and state(session, 1) == ("empty", 0)
    session.correct(1, of(session, 2))
    assert not session.redo(1) and state(session, 1) == ("corrected", 2)


def test_a_model_never_costs_a_person_the_way_back(session: Session) -> None:
    session.correct(1, of(session, 7))
    session.clear(1)
    session.propose(1, of(session, 1), "v1")
    assert session.undo(1) and state(session, 1) == ("corrected", 7)
    assert not session.propose(1, of(session, 1), "v2")


def test_only_the_latest_steps_are_kept(session: Session) -> None:
    for value in (1, 2):
        for t in range(len(session)):
            session.correct(t, of(session, value))
    assert len(list((session.folder / "undo").iterdir())) == STEPS_KEPT
    with again(session) as session:
        untouched = [t for t in range(len(session)) if session.undo(t) and not session.undo(t)]
        assert untouched == [0, 1, 2, 3]  # only their second visit was still kept
        assert len(list((session.folder / "undo").iterdir())) <= STEPS_KEPT


def test_a_stroke_taken_back_by_hand_is_no_step(session: Session) -> None:
    session.propose(1, of(session, 1), "v1")
    editor = session.editable()
    editor[1, 3:9, 3:9] = 2
    editor[1, 3:9, 3:9] = 1
    assert session.status(1) == "proposed"
    assert not session.undo(1) and state(session, 1) == ("proposed", 1)


def test_a_damaged_step_is_passed_over(session: Session) -> None:
    for value in (1, 2, 3):
        session.correct(1, of(session, value))
        session.correct(2, of(session, value))
    session.close()
    steps = sorted(path for path in (session.folder / "undo").iterdir() if "-1." in path.name)
    raw = bytearray(steps[-1].read_bytes())
    raw[-3] ^= 0xFF
    steps[-1].write_bytes(raw)
    (session.folder / "undo" / "notes.txt").write_text("not ours")
    with Session.open(session.folder) as session:
        assert session.undo(1) and state(session, 1) == ("corrected", 1)
        assert not steps[-1].exists() and (session.folder / "undo" / "notes.txt").exists()


def test_looking_for_something_to_undo_makes_no_folder(sample) -> None:
    with Session.open(sample.video, lazy=True) as session:
        assert not session.undo(0) and not session.redo(0) and not session.folder.exists()
        with pytest.raises(IndexError):
            session.undo(99)


def test_listeners_hear_of_undoing(session: Session) -> None:
    session.correct(1, of(session, 1))
    heard: list[tuple[int, str]] = []
    session.on_change(lambda t, status: heard.append((t, status)))
    editor = session.editable()
    assert editor[1].any()
    session.undo(1)
    assert heard == [(1, "empty")] and not editor[1].any()
    assert not session.undo(1) and len(heard) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from("capur!"), st.integers(0, 2), st.integers(1, 3)), max_size=16)
)
def test_undo_and_redo_follow_a_stack_through_restarts(sample, tmp_path_factory, steps) -> None:
    session = Session.open(sample.video, folder=tmp_path_factory.mktemp("undo") / "s")
    now = {t: ("empty", 0) for t in range(3)}
    back: dict[int, list] = {t: [] for t in range(3)}
    forth: dict[int, list] = {t: [] for t in range(3)}

    def push(t: int) -> None:
        back[t].append(now[t])
        forth[t].clear()

    visited = None
    for action, t, value in steps:
        if action == "!":
            session, visited = again(session), None
        elif action == "p":
            if session.propose(t, of(session, value), "v"):
                now[t] = ("proposed", value)
                visited = None if visited == t else visited
        elif action == "c":
            if visited != t:
                push(t)
            visited = t
            session.correct(t, of(session, value))
            now[t] = ("corrected", value)
        elif action == "a" and now[t][0] != "empty":
            push(t)
            visited = None
            session.accept(t)
            now[t] = ("accepted", now[t][1])
        elif action in "ur":
            source, other = (back, forth) if action == "u" else (forth, back)
            while source[t] and source[t][-1] == now[t]:
                source[t].pop()
            moved = (session.undo if action == "u" else session.redo)(t)
            assert moved == bool(source[t])
            if moved:
                other[t].append(now[t])
                now[t] = source[t].pop()
                visited = None
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
        assert session.undo(1)
        assert session.redo(1) and state(session, 1) == ("corrected", 1)
    stop.set()
    thread.join()
