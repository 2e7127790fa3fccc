"""The ledger, whatever is written into it and wherever a crash cuts it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim.errors import SessionError
from vivim.session.ledger import LINE_BYTES, MODEL, PERSON, STATUS_NAMES, Entry, Ledger, from_line, to_line

entries = st.builds(
    Entry,
    frame=st.integers(0, 10**7),
    status=st.sampled_from(STATUS_NAMES),
    author=st.text(max_size=40),
    kind=st.sampled_from((PERSON, MODEL)),
    time=st.just("2026-01-01T00:00:00Z"),
    uncertainty=st.none() | st.floats(0, 1),
    mask=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
    windows=st.none() | st.floats(0, 1),
)
any_time = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(path: Path, lines: list[Entry]) -> None:
    path.write_bytes(b"".join(map(to_line, lines)))


@any_time
@given(entry=entries)
def test_a_line_says_again_what_it_was_told(entry: Entry) -> None:
    assert from_line(to_line(entry)) == entry
    assert to_line(entry).count(b"\n") == 1


@any_time
@given(before=st.lists(entries, max_size=6), cut=entries, data=st.data(), after=st.lists(entries, max_size=3))
def test_a_cut_costs_the_last_line_only(tmp_path: Path, before, cut, data, after) -> None:
    path = tmp_path / "ledger.jsonl"
    written(path, before)
    line = to_line(cut)
    with path.open("ab") as file:
        file.write(line[: data.draw(st.integers(0, len(line) - 1))])
    ledger = Ledger(path)
    assert list(ledger.read()) == before
    ledger.open()
    for entry in after:
        ledger.append(entry)
    ledger.close()
    assert list(ledger) == before + after
    assert list(Ledger(path).read()) == before + after


@any_time
@given(lines=st.lists(entries, min_size=1, max_size=5), garbage=st.binary(max_size=60), data=st.data())
def test_garbage_is_told_by_its_line_and_every_other_line_holds(tmp_path: Path, lines, garbage, data) -> None:
    at = data.draw(st.integers(0, len(lines)))
    path = tmp_path / "ledger.jsonl"
    parts = [*map(to_line, lines[:at]), garbage.replace(b"\n", b" ") + b"{\n", *map(to_line, lines[at:])]
    path.write_bytes(b"".join(parts))
    ledger = Ledger(path)
    assert list(ledger.read()) == lines
    assert [line.number for line in ledger.damage] == [at + 1]


@any_time
@given(lines=st.lists(entries, min_size=1, max_size=5), zeros=st.integers(1, 200_000))
def test_zeros_at_the_end_are_told_and_kept_in_a_file_beside(tmp_path: Path, lines, zeros) -> None:
    folder = tmp_path / os.urandom(8).hex()
    folder.mkdir()
    path = folder / "ledger.jsonl"
    path.write_bytes(b"".join(map(to_line, lines)) + bytes(zeros))
    ledger = Ledger(path)
    assert list(ledger.read()) == lines and ledger.damage
    ledger.open()
    ledger.append(lines[0])
    ledger.close()
    assert ledger.kept_in is not None and ledger.kept_in.read_bytes() == bytes(zeros)
    again = Ledger(path)
    assert list(again.read()) == [*lines, lines[0]] and again.damage == []


def test_a_whole_line_behind_a_torn_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    torn, whole = (Entry(t, "accepted", "a", PERSON, "") for t in (1, 2))
    path.write_bytes(to_line(torn)[:30] + bytes(50) + to_line(whole))
    ledger = Ledger(path)
    assert list(ledger.read()) == [whole]
    assert [line.frames for line in ledger.damage] == [(1,)]
    ledger.open()
    ledger.mend()
    ledger.close()
    assert path.read_bytes() == to_line(whole) and (tmp_path / "ledger.damaged-1").stat().st_size > 80


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 50_000,
        b'{"frame":true,"status":"empty","author":"a","kind":"person","time":""}',
        b'{"frame":0,"status":"empty","author":1,"kind":"person","time":""}',
        b'{"frame":0,"status":"empty","author":"a","kind":"person","time":"","uncertainty":"much"}',
        b'{"frame":0,"status":"empty","author":"a","kind":"person","time":"","uncertainty":'
        + b"9" * 400
        + b"}",
        b'{"frame":0,"status":"drawn","author":"a","kind":"person","time":""}',
        b"\x00" * 100,
        b"9" * 5000,
    ],
    ids=["deep", "bool", "author", "text", "huge", "status", "zeros", "digits"],
)
def test_a_line_that_is_no_entry_is_damage(tmp_path: Path, line: bytes) -> None:
    good = to_line(Entry(0, "empty", "a", PERSON, ""))
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(line + b"\n" + good)
    ledger = Ledger(path)
    assert list(ledger.read()) == [from_line(good)] and ledger.damage[0].number == 1


def test_a_file_without_an_end_in_sight_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(SessionError, match=r"Line 1 .* is damaged"):
        list(Ledger(path).read())
    path.write_bytes(b"x" * (LINE_BYTES - 1))
    assert list(Ledger(path).read()) == []


def test_a_line_that_did_not_fit_is_cut_off_again(tmp_path: Path, monkeypatch) -> None:
    one, two = (Entry(t, "corrected", "a", PERSON, "") for t in (1, 2))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.open()
    ledger.append(one)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            ledger.append(two, sync=True)
    assert list(Ledger(tmp_path / "ledger.jsonl").read()) == [one]
    ledger.append(two)
    ledger.close()
    assert list(Ledger(tmp_path / "ledger.jsonl").read()) == [one, two]
