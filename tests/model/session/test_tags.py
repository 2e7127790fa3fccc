"""Tags of frames, comments and attributes: acknowledged as strokes are, and kept out of nobody's way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session, export, suggest_frames
from vivim.api import damaged_frames
from vivim.errors import SessionError
from vivim.session.review import REVIEW
from vivim.training.datasets import load_session

TAG = """
import sys
from vivim import Session

with Session.open(sys.argv[1], reader=sys.argv[2]) as session:
    for n in range(10**6):
        session.tag(n % len(session), f"tag {n}")
        session.comment(f"comment {n}", n % len(session))
        print(n, flush=True)
"""


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def test_tags_of_frames_and_ranges_last(session: Session) -> None:
    session.tag(2, "unusable")
    session.tag(range(3, 9), "uncertain")
    session.tag([3, 11], "own words, ä")
    session.untag(range(4, 6), "uncertain")
    session.untag(0, "never given")
    session.close()
    with Session.open(session.folder) as again:
        assert again.tags(2) == ("unusable",) and again.tags(3) == ("own words, ä", "uncertain")
        assert again.frames_tagged("uncertain") == [3, 6, 7, 8] and again.tags(4) == ()
        assert again.statuses.tolist() == [0] * 12 and list(again.entries()) == []


def test_no_lesion_is_an_empty_mask_of_a_person(session: Session) -> None:
    session.propose(1, of(session, 1), "v1")
    session.propose(2, of(session, 0), "v1")
    assert session.tags(2) == ()  # a model's word
    session.accept(2)
    session.tag([1, 5], "no lesion")
    assert session.frames_tagged("no lesion") == [1, 2, 5] and session.tags(5) == ("no lesion",)
    assert session.status(1) == "corrected" and not session.masks[1].any()
    assert session.undo() == [1, 5] and session.frames_tagged("no lesion") == [2]
    with pytest.raises(SessionError, match="Draw one"):
        session.untag(2, "no lesion")
    assert not (session.folder / REVIEW).exists()


def test_a_tag_with_a_meaning_has_it_however_it_is_written(session: Session) -> None:
    session.correct(1, of(session, 1))
    session.tag(1, " Ignore ")
    session.tag(2, "No lesion")
    session.tag(3, "Own Words")
    assert session.vouched_frames() == [2] and session.tags(1) == ("ignore",)
    assert session.tags(2) == ("no lesion",) and session.tags(3) == ("Own Words",)
    assert session.frames_tagged("IGNORE") == [1] and session.frames_tagged("NO LESION") == [2]
    session.untag(1, "IGNORE")
    assert session.tags(1) == ()


def test_an_ignored_frame_is_not_learned_from_suggested_or_released(
    sample, session: Session, tmp_path
) -> None:
    for t in range(0, 12, 2):
        session.correct(t, sample.masks[t])
    session.tag([1, 2, 3], "ignore")
    assert session.vouched_frames() == [0, 4, 6, 8, 10]
    assert damaged_frames([session]) == ()
    assert {1, 3}.isdisjoint(one.frame for one in suggest_frames(session, 12))
    assert len(suggest_frames(session, 12)) == 4
    for _ in export(session, tmp_path, ("dataset", "coco", "csv"), only="corrected"):
        pass
    assert {path.stem for path in (tmp_path / "dataset" / "masks").iterdir()} == {
        f"{t:06d}" for t in (0, 4, 6, 8, 10)
    }
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [image["frame"] for image in images if "ignore" in image["tags"]] == [2]
    rows = (tmp_path / "measurements.csv").read_text().splitlines()
    assert rows[0].endswith(",tags") and [row[:2] for row in rows if row.endswith(",ignore")] == ["2,"]
    session.close()
    clip = load_session(session.folder, (64, 64))
    assert clip is not None and len(clip.frames) == 5


def test_listeners_are_told_of_what_was_tagged(session: Session) -> None:
    told: list[tuple[int, str]] = []
    session.on_change(lambda t, status: told.append((t, status)))
    session.tag([1, 2], "ignore")
    session.tag([2, 3], "ignore")
    session.comment("nothing that frames show")
    assert told == [(1, "empty"), (2, "empty"), (3, "empty")]


def test_what_could_not_be_read_again_is_refused(session: Session) -> None:
    session.comment("Fine.", lesion=np.uint8(2))
    session.set_attribute(np.int64(1), "Paris", "Is")
    for wrong in (
        lambda: session.set_attribute(1, "size in mm", 5),
        lambda: session.comment("Whose?", author=5),
        lambda: session.comment("Where?", place=(float("nan"), 1)),
    ):
        with pytest.raises(ValueError, match="cannot be kept"):
            wrong()
    for wrong in (
        lambda: session.comment("Which one?", lesion="left"),
        lambda: session.tag(1.7, "uncertain"),
        lambda: session.tag("12", "uncertain"),
    ):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            wrong()
    session.close()
    with Session.open(session.folder, read_only=True) as again:
        assert again.ledger_damage == [] and again.tag_names == []
        assert again.attributes == {1: {"Paris": "Is"}} and again.comments[0].lesion == 2


def test_comments_are_answered_and_settled(session: Session) -> None:
    first = session.comment("Is this one lesion?", 3, place=(10, 20.5), author="senior")
    answer = session.comment("Two.", 3, reply_to=first)
    session.note("A slow sweep.")
    session.set_attribute(1, "Paris", "Is")
    session.set_attribute(1, "Paris", "IIa")
    session.set_attribute(2, "BI-RADS", "4a")
    session.set_attribute(2, "BI-RADS", "")
    session.resolve(first)
    with pytest.raises(SessionError, match="no comment 'x'"):
        session.comment("To whom?", reply_to="x")
    session.close()
    with Session.open(session.folder, read_only=True) as again:
        one, two, note = again.comments
        assert (one.text, one.author, one.frame, one.place) == (
            "Is this one lesion?",
            "senior",
            3,
            (10.0, 20.5),
        )
        assert one.resolved and not two.resolved and (two.id, two.reply_to) == (answer, first)
        assert note.frame is None and again.attributes == {1: {"Paris": "IIa"}}
        with pytest.raises(SessionError, match="reading only"):
            again.comment("too late")


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 101, "\x1b[31m"])
def test_a_tag_needs_a_name_of_one_line(session: Session, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 characters"):
        session.tag(1, name)


def test_what_is_too_long_or_nothing_is_refused(session: Session) -> None:
    for text in ("", "é" * 20_000):
        with pytest.raises(ValueError, match=r"needs a text|too long"):
            session.comment(text, 1)
    with pytest.raises(IndexError):
        session.tag(12, "ignore")
    session.tag(range(0, 12, 2), "ok")
    assert session.comments == () and session.frames_tagged("ok") == [0, 2, 4, 6, 8, 10]


def test_what_was_acknowledged_outlives_kills_of_two_readers(sample) -> None:
    for _ in range(3):
        before = {name: _all_said(sample.video, name) for name in ("a", "b")}
        killed = [
            subprocess.Popen(
                [sys.executable, "-c", TAG, str(sample.video), name], stdout=subprocess.PIPE, text=True
            )
            for name in before
        ]
        for process in killed:
            assert process.stdout is not None
            while process.stdout.readline() != "20\n":
                assert process.poll() is None
        last = {}
        for process, name in zip(killed, before, strict=True):
            process.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
            last[name] = int((["20", *process.communicate()[0].split()])[-1])
        for name in before:
            tags, comments = _all_said(sample.video, name)
            assert {f"tag {n}" for n in range(last[name] + 1)} <= tags
            assert len(comments) > len(before[name][1]) + last[name]


def _all_said(video: Path, reader: str) -> tuple[set[str], list[str]]:
    with Session.open(video, reader=reader) as session:
        assert session.ledger_damage == []
        tags = {name for t in range(len(session)) for name in session.tags(t)}
        return tags, [comment.text for comment in session.comments]


def _said(folder: Path) -> list[list[tuple[str, ...]]]:
    """Tags of all frames after each of several rounds of three lines."""
    found = []
    with Session.open(folder) as session:
        for n in range(6):
            session.tag(range(n, n + 3), f"tag {n % 2}")
            session.comment(f"comment {n}", n)
            session.untag(n, f"tag {n % 2}")
            found.append([session.tags(t) for t in range(len(session))])
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), garbage=st.binary(max_size=40))
def test_a_damaged_end_is_told_and_kept_and_the_rest_holds(sample, tmp_path_factory, cut, garbage) -> None:
    folder = tmp_path_factory.mktemp("cut") / "s"
    Session.open(sample.video, folder=folder).close()
    steps = _said(folder)
    path = folder / REVIEW
    whole = path.read_bytes()
    kept = whole[: round(cut * len(whole))]
    end = kept[kept.rfind(b"\n") + 1 :] + garbage.replace(b"\n", b" ")
    path.write_bytes(kept[: kept.rfind(b"\n") + 1] + end)
    lines = kept.splitlines(True)[: kept.count(b"\n")]
    with Session.open(folder) as session:
        assert bool(session.ledger_damage) == bool(end)
        if end:
            assert session.ledger_kept_in is not None and session.ledger_kept_in.read_bytes() == end
        if lines and len(lines) % 3 == 0:
            assert [session.tags(t) for t in range(len(session))] == steps[len(lines) // 3 - 1]
        assert len(session.comments) == sum(b'"what":"comment"' in line for line in lines)
        session.tag(0, "goes on")
    with Session.open(folder) as again:
        assert "goes on" in again.tags(0) and again.ledger_damage == []


def test_a_damaged_line_in_between_is_left_out_when_mended(session: Session) -> None:
    session.tag(1, "ok")
    session.tag(2, "lost")
    session.tag(3, "ok")
    session.close()
    path = session.folder / REVIEW
    path.write_bytes(path.read_bytes().replace(b'"lost"', b"\0\0\0\0\0\0"))
    with Session.open(session.folder) as again:
        assert again.ledger_damage == ["Line 2 of review.jsonl is damaged"]
        again.mend()
        assert again.ledger_damage == [] and again.ledger_kept_in is not None
    with Session.open(session.folder) as mended:
        assert mended.ledger_damage == [] and mended.frames_tagged("ok") == [1, 3]


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b'{"what":"nothing","author":"a","time":""}',
        b'{"what":["tag"],"author":"a","time":""}',
        b'{"what":"tag","author":"a","time":"","name":"x","frames":[[3,1]]}',
        b'{"what":"tag","author":"a","time":"","name":"x","frames":[["a","b"]]}',
        b'{"what":"tag","author":"a","time":"","name":"x","frames":3}',
        b'{"what":"tag","author":"a","time":"","frames":[[1,1]]}',
        b'{"what":"comment","author":"a","time":"","text":"x","id":"y","place":[1]}',
        b'{"what":"state","author":"a","time":"","name":"free","text":""}',
        b'{"what":"attribute","author":"a","time":"","name":"x","text":"","lesion":"1"}',
    ],
)
def test_a_line_that_is_none_of_ours_is_told(session: Session, line: bytes) -> None:
    session.tag(1, "ok")
    session.close()
    whole = (session.folder / REVIEW).read_bytes()
    (session.folder / REVIEW).write_bytes(line + b"\n" + whole)
    with Session.open(session.folder) as again:
        assert again.ledger_damage == ["Line 1 of review.jsonl is damaged"] and again.tags(1) == ("ok",)


def test_frames_that_a_video_does_not_have_are_left_out(session: Session) -> None:
    line = b'{"what":"tag","author":"a","time":"","name":"ignore","frames":[[5,99999999999]]}\n'
    (session.folder / REVIEW).write_bytes(line)
    session.close()
    with Session.open(session.folder) as again:
        assert again.frames_tagged("ignore") == list(range(5, 12))
