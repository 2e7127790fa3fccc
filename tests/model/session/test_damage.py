"""Damaged sessions: told, in doubt a person's, and mended; what may be done to a damaged frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session
from vivim.cli import main
from vivim.errors import SessionError

PERSONS = {2: "corrected", 3: "accepted", 6: "corrected"}


def of(session: Session, value: int) -> np.ndarray:
    mask = np.zeros(session.shape[1:], np.uint8)
    mask[4:30, 5:40] = value
    return mask


@pytest.fixture
def worked(session: Session) -> Session:
    """A closed session: frames 0 to 7 proposed, of which some are a person's, the rest empty."""
    for t in range(8):
        session.propose(t, of(session, t + 1), "v1", uncertainty=0.5)
    for t in (2, 6):
        session.correct(t, of(session, 50 + t))
    session.accept(3)
    session.close()
    return session


def chunk(session: Session, t: int) -> Path:
    return session.folder / "masks.zarr" / "c" / str(t) / "0" / "0"


def ledger(session: Session) -> Path:
    return session.folder / "ledger.jsonl"


def kill(session: Session) -> None:
    """As if the program had been killed since it was last closed."""
    (session.folder / "lock.holder").write_text("process 1 on a machine long gone")


@contextmanager
def again(session: Session, **options) -> Iterator[Session]:
    with Session.open(session.folder, **options) as opened:
        yield opened


# -- each kind of damage ----------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another(path: Path) -> None:
    shutil.copy(path.parents[2] / "0" / "0" / "0", path)


def swap(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("t", [2, 3, 5])
@pytest.mark.parametrize("damage", [cut, zero, empty, another, Path.unlink, swap])
def test_a_damaged_mask_is_a_persons_and_no_model_writes_over_it(
    worked: Session, damage: Callable, t: int
) -> None:
    damage(chunk(worked, t))
    with again(worked) as session:
        assert not session.propose(t, of(session, 9), "v2")
        assert session.damaged(t) and session.status(t) == PERSONS.get(t, "corrected")
        assert list(session.damage) == session.verify() == [t]
        assert session.propose(1, of(session, 9), "v2")
    with again(worked) as session:
        assert session.check_due and list(session.damage) == [
            t
        ]  # as long as nobody has said what it is to be
        session.correct(t, of(session, 3))
        assert (
            not session.damaged(t) and session.verify() == [] and (session.masks[t] == of(session, 3)).all()
        )
    with again(worked) as session:
        assert not session.damage and not session.check_due


def test_what_was_restored_is_no_longer_in_doubt(worked: Session) -> None:
    whole = chunk(worked, 5).read_bytes()
    cut(chunk(worked, 5))
    with again(worked) as session:
        assert session.verify() == [5] and session.status(5) == "corrected"
    chunk(worked, 5).write_bytes(whole)
    with again(worked) as session:
        assert session.verify() == [] and session.status(5) == "proposed"
        assert session.propose(5, of(session, 9), "v2")


def test_a_mask_without_a_line_is_a_persons(worked: Session) -> None:
    shutil.copytree(chunk(worked, 2).parents[1], chunk(worked, 10).parents[1])
    kill(worked)
    with again(worked) as session:
        assert session.damaged(10) and session.status(10) == "corrected" and session.verify() == [10]
        assert not session.propose(10, of(session, 9), "v2")


@pytest.mark.parametrize("lost", ["missing", "empty"])
@pytest.mark.parametrize("known", [True, False])
def test_without_a_ledger_all_masks_are_a_persons(worked: Session, lost: str, known: bool) -> None:
    ledger(worked).unlink()
    if lost == "empty":
        ledger(worked).touch()
    if not known:
        (worked.folder / "closed.json").unlink()
    with again(worked, read_only=True) as session:
        assert list(session.damage) == list(range(8)) and session.ledger_damage
    with again(worked) as session:
        assert session.frames_with("corrected") == list(range(8))
        assert not any(session.propose(t, of(session, 9), "v2") for t in range(8))
        assert session.mend() == list(range(8)) and session.damage == {} and session.verify() == []
    with again(worked) as session:
        assert session.frames_with("corrected") == list(range(8)) and not session.check_due


def test_an_acceptance_that_the_ledger_has_lost_is_known_from_the_last_close(worked: Session) -> None:
    lines = ledger(worked).read_bytes().splitlines(keepends=True)
    ledger(worked).write_bytes(b"".join(lines[:-1]))  # cut where a line ends: it looks whole
    with again(worked) as session:
        assert session.status(3) == "corrected" and session.damaged(3)
        assert "bytes of the ledger are damaged or missing" in session.ledger_damage[0]
        assert not session.propose(3, of(session, 9), "v2")


def test_an_acceptance_lost_in_a_crash_is_known_from_what_can_be_taken_back(session: Session) -> None:
    session.propose(3, of(session, 1), "v1")
    session.accept(3)
    session.close()
    (session.folder / "closed.json").unlink()
    kill(session)
    ledger(session).write_bytes(ledger(session).read_bytes().splitlines(keepends=True)[0])
    with again(session) as found:
        assert found.status(3) == "corrected" and not found.propose(3, of(found, 9), "v2")


def test_a_damaged_end_is_kept_beside_and_told_once(worked: Session) -> None:
    whole = ledger(worked).read_bytes()
    ledger(worked).write_bytes(whole[:-20] + bytes(20))
    with again(worked) as session:
        assert session.ledger_damage and session.ledger_kept_in is not None
        assert session.ledger_kept_in.parent == worked.folder
        assert whole.endswith(session.ledger_kept_in.read_bytes().rstrip(b"\0") + whole[-20:])
        assert session.status(3) == "corrected" and not session.propose(3, of(session, 9), "v2")
        session.accept(3)
        assert session.verify() == []
    with again(worked) as session:
        assert session.ledger_damage == [] and session.status(3) == "accepted" and not session.check_due


def test_a_damaged_line_in_the_middle_is_passed_over_and_set_aside_by_mending(worked: Session) -> None:
    lines = ledger(worked).read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:8], bytes(len(lines[8])), *lines[9:]])
    ledger(worked).write_bytes(damaged)
    with again(worked) as session:
        assert session.ledger_damage == ["Line 9 of the ledger is damaged"] and session.verify() == [2]
        assert session.status(2) == "corrected"
        assert session.mend() == [2] and session.verify() == [] and session.ledger_damage == []
        assert session.ledger_kept_in is not None and session.ledger_kept_in.read_bytes() == damaged
        session.correct(9, of(session, 4))
    with again(worked) as session:
        assert session.ledger_damage == [] and session.verify() == [] and session.status(2) == "corrected"
        assert (session.masks[2] == of(session, 52)).all() and session.status(9) == "corrected"


def test_strokes_that_are_newer_than_their_line_are_no_damage(session: Session) -> None:
    editor = session.editable()
    for row in range(0, 40, 10):
        editor[4, row : row + 10, 5:30] = 1  # said once, then painted on
    copy = Path(shutil.copytree(session.folder, session.folder.with_name("killed.vivim")))
    painted = np.asarray(session.masks[4])
    with Session.open(copy) as found:
        assert found.check_due and found.verify() == [] and not found.damaged(4)
        np.testing.assert_array_equal(found.masks[4], painted)
    with Session.open(copy) as found:
        assert not found.check_due and found.verify() == []  # closing has said what is there


def test_a_reader_beside_a_writer_takes_new_masks_for_no_damage(session: Session) -> None:
    session.propose(4, of(session, 1), "v1")
    with again(session, read_only=True) as reader:
        session.propose(4, of(session, 2), "v2")
        assert not reader.damaged(4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wherever_a_file_is_cut_zeroed_or_gone_no_persons_frame_is_lost_to_a_model(
    worked: Session, data
) -> None:
    copy = Path(shutil.copytree(worked.folder, worked.folder.with_name(f"{uuid4()}.vivim")))
    if data.draw(st.booleans()):
        (copy / "lock.holder").touch()
    names = ["ledger.jsonl", *(f"masks.zarr/c/{t}/0/0" for t in range(8))]
    path = copy / data.draw(st.sampled_from(names))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["cut", "zeroed", "gone"]))
    path.write_bytes(whole[:at] + (bytes(len(whole) - at) if how == "zeroed" else b""))
    if how == "gone":
        path.unlink()
    changed = not path.exists() or path.read_bytes() != whole
    with Session.open(copy) as session:
        told = bool(session.ledger_damage)
        for t, status in PERSONS.items():
            assert session.status(t) in (status, "corrected") or not session.propose(t, of(session, 9), "v2")
            assert not session.propose(t, of(session, 9), "v2")
        assert told or session.verify() or not changed
    shutil.rmtree(copy)


def test_a_frame_on_which_somebody_painted_since_is_not_in_doubt_after_another_crash(worked: Session) -> None:
    cut(chunk(worked, 5))
    with again(worked) as session:
        assert session.verify() == [5]
    with again(worked) as session:
        session.correct(5, of(session, 3))
        copy = Path(shutil.copytree(session.folder, session.folder.with_name("killed.vivim")))
    with Session.open(copy) as session:
        assert not session.damaged(5) and session.verify() == []


# -- what may be done to it -------------------------------------------------------------------------------------------


@pytest.fixture
def unreadable(worked: Session) -> Iterator[Session]:
    """Open, with damaged masks of a corrected frame, 2, and a proposed one, 5."""
    for t in (2, 5):
        cut(chunk(worked, t))
    with again(worked) as session:
        yield session


@pytest.mark.parametrize("t", [2, 5])
def test_an_unreadable_frame_is_shown_empty_and_can_be_painted(unreadable: Session, t: int) -> None:
    editor, heard = unreadable.editable(), []
    unreadable.on_change(lambda frame, status: heard.append((frame, status)))
    assert not editor[t].any() and not np.asarray(editor)[t].any() and editor[:3].shape[0] == 3
    assert heard[0] == (t, "corrected") and unreadable.damaged(t)
    editor[t, 3:6, 3:6] = 1
    assert unreadable.masks[t].sum() == 9 and not unreadable.damaged(t)
    editor[t, 6:9, 3:6] = 1
    assert unreadable.masks[t].sum() == 18 and t not in unreadable.verify()


@pytest.mark.parametrize("t", [2, 5])
def test_an_unreadable_frame_can_be_accepted_as_it_is_shown_and_copied_into(
    unreadable: Session, t: int
) -> None:
    unreadable.accept(t)
    assert unreadable.status(t) == "accepted" and not unreadable.masks[t].any() and not unreadable.damaged(t)
    other = 7 - t
    unreadable.shown(other)
    unreadable.editable()[other] = np.zeros(unreadable.shape[1:], np.uint8)  # an empty mask counts, too
    assert unreadable.status(other) == "corrected" and not unreadable.damaged(other)


def test_accepting_many_frames_passes_over_those_that_are_damaged(unreadable: Session) -> None:
    assert unreadable.verify() == [2, 5]
    assert unreadable.accept_frames(range(8)) == [0, 1, 4, 6, 7]
    assert unreadable.damaged(5) and unreadable.damaged(2)


def test_an_unreadable_frame_can_be_reverted_to_its_proposal_or_to_nothing(unreadable: Session) -> None:
    assert unreadable.verify() == [2, 5]
    assert unreadable.revert(2) and unreadable.status(2) == "proposed"
    assert (unreadable.masks[2] == of(unreadable, 3)).all()
    assert unreadable.revert(5) and unreadable.status(5) == "empty"  # what was proposed is what is damaged
    assert unreadable.propose(5, of(unreadable, 9), "v2") and unreadable.verify() == []


def test_taking_back_what_was_done_to_a_frame_in_doubt_leaves_it_a_persons(worked: Session) -> None:
    another(chunk(worked, 5))
    with again(worked) as session:
        assert session.damaged(5)
        session.correct(5, of(session, 8))
        assert session.undo() == [5]
        assert session.status(5) == "corrected" and (session.masks[5] == of(session, 1)).all()


def test_masks_that_are_all_gone_are_no_damage_of_each_frame(worked: Session) -> None:
    with again(worked) as session:
        (worked.folder / "masks.zarr").rename(worked.folder / "away")
        with pytest.raises(SessionError):
            session.damaged(2)
        assert session.damage == {}
        (worked.folder / "away").rename(worked.folder / "masks.zarr")


def test_a_damaged_frame_teaches_and_guides_nobody(unreadable: Session) -> None:
    assert unreadable.vouched_frames() == [3, 6]
    assert unreadable.frames_with("corrected", "accepted") == [2, 3, 6]


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_mends_and_is_content(worked: Session, capsys: pytest.CaptureFixture[str]) -> None:
    another(chunk(worked, 5))
    cut(chunk(worked, 2))
    folder = str(worked.folder)

    def check(*options: str) -> tuple[int, dict]:
        code = main(["check", folder, "--json", *options])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])["sessions"][0]

    before = ledger(worked).read_bytes()
    code, found = check()
    assert code == 1 and not found["whole"] and [one["frame"] for one in found["damaged"]] == [2, 5]
    assert ledger(worked).read_bytes() == before
    code, found = check("--mend")
    assert code == 0 and found["mended"] and not found["whole"]
    code, found = check()
    assert code == 1 and [one["frame"] for one in found["damaged"]] == [2]  # no mending makes it readable
    with again(worked) as session:
        assert session.status(5) == "corrected"
        session.correct(2, of(session, 1))
    assert check() == (0, {**found, "whole": True, "damaged": []})


def test_one_session_that_cannot_be_opened_does_not_stop_the_others(
    worked: Session, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", str(tmp_path / "none.vivim"), str(worked.folder), "--json"]) == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out.splitlines()[-1])["sessions"]
    assert "error" in found[0] and found[1]["whole"] and "none.vivim" in shown.err
