"""Several readers of one video: each has a session of their own, and none is in the way of another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vivim
from vivim import Session
from vivim.errors import SessionError
from vivim.session.readers import sessions_in

READ = """
import sys
import numpy as np
from vivim import Session

with Session.open(sys.argv[1], reader=sys.argv[2]) as session:
    print("open", flush=True)
    sys.stdin.readline()
    for t in range(len(session)):
        session.correct(t, np.full(session.shape[1:], int(sys.argv[3]), np.uint8))
        print(t, flush=True)
    sys.stdin.readline()
"""


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


def test_each_reader_has_masks_ledger_and_undo_of_their_own(sample) -> None:
    with Session.open(sample.video, reader="a") as a, Session.open(sample.video, reader="b") as b:
        a.correct(1, of(a, 1))
        b.propose(1, of(b, 2), "v1")
        b.accept(1)
        assert (a.reader, b.reader, a.author) == ("a", "b", "a")
        assert a.folder == sample.clip / "frames.vivim" / "readers" / "a" and a.video_path == sample.video
        assert (a.masks[1] == 1).all() and (b.masks[1] == 2).all()
        assert b.undo() == [1] and a.status(1) == "corrected"
        assert [entry.author for entry in a.entries()] == ["a"]
    assert vivim.readers_of(sample.video) == ["a", "b"]
    assert not (sample.clip / "frames.vivim" / "session.json").exists()


def test_the_session_of_before_is_the_reader_default(sample) -> None:
    with Session.open(sample.video, author="ann") as before:
        before.correct(3, of(before, 1))
        before.name_classes(["polyp"])
        before.set_area((0, 0, 64, 64))
    with Session.open(sample.video, reader="default") as again:
        assert again.folder == before.folder and again.reader == "default"
        assert again.frames_with("corrected") == [3]
    with Session.open(before.folder, reader="b") as b:
        assert b.classes == ("polyp",) and b.area == (0, 0, 64, 64) and b.frames_with("corrected") == []
        assert b.identity == before.identity and b.video.frame(0).shape == sample.frames[0].shape
    assert vivim.readers_of(before.folder) == vivim.readers_of(b.folder) == ["default", "b"]
    with Session.open(b.folder) as same, Session.open(same.folder, reader="default") as default:
        assert same.reader == "b" and default.frames_with("corrected") == [3]


def test_looking_leaves_no_trace_and_the_first_stroke_makes_the_folder(sample) -> None:
    with Session.open(sample.video, reader="a", lazy=True) as session:
        assert not session.folder.exists() and vivim.readers_of(sample.video) == []
        session.correct(0, of(session, 1))
        assert vivim.readers_of(sample.video) == ["a"]
    with Session.open(session.folder) as again:
        assert again.reader == "a" and again.video_path == sample.video


def test_two_programs_write_at_once_and_a_third_as_the_same_reader_is_refused(sample) -> None:
    Session.open(sample.video).close()
    others = [
        subprocess.Popen(
            [sys.executable, "-c", READ, str(sample.video), name, value],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, value in (("a", "1"), ("b", "2"))
    ]
    for other in others:
        assert other.stdout is not None and other.stdin is not None and other.stdout.readline() == "open\n"
        other.stdin.write("go\n")
        other.stdin.flush()
    with Session.open(sample.video) as default:
        default.correct(0, of(default, 3))
    for other in others:
        assert other.stdout is not None
        assert [other.stdout.readline() for _ in range(12)][-1] == "11\n"
    with pytest.raises(SessionError, match="open in another window or program"):
        Session.open(sample.video, reader="a")
    with Session.open(sample.video, reader="a", read_only=True) as seen:
        assert len(seen.frames_with("corrected")) == 12
    for other in others:
        assert other.communicate("end\n", timeout=60) and other.returncode == 0
    for name, value in (("a", 1), ("b", 2)):
        with Session.open(sample.video, reader=name) as session:
            assert (session.masks[:] == value).all() and session.verify() == []


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a b", ".a", "-a", "ä", "a" * 65, "con", "COM1", "a.vivim", "a\n"]
)
def test_a_name_that_no_file_system_could_take_is_refused(sample, name: str) -> None:
    with pytest.raises(SessionError, match="cannot be the name of a reader"):
        Session.open(sample.video, reader=name)
    assert not (sample.clip / "frames.vivim" / "readers").exists()


def test_names_that_differ_in_case_alone_are_not_two_readers(sample) -> None:
    Session.open(sample.video, reader="Ann").close()
    with pytest.raises(SessionError, match="There is a reader Ann already"):
        Session.open(sample.video, reader="ann")


def test_what_is_not_there_is_said_with_what_is(sample) -> None:
    with Session.open(sample.video, reader="a") as a:
        top = a.folder.parents[1]
    for path, reader in ((sample.video, None), (sample.video, "b"), (top, "b")):
        with pytest.raises(SessionError, match=r"no session of reader (default|b)\. Choose one of: a\."):
            Session.open(path, reader=reader, read_only=True)
    with pytest.raises(SessionError, match=r"Choose one of: a\."):
        Session.open(top)
    with Session.open(sample.video) as default:  # naming the video begins one, as ever
        assert default.folder == top


@pytest.mark.parametrize("link", ["readers", "readers/a"])
def test_a_link_out_of_the_folder_is_not_written_through(sample, tmp_path: Path, link: str) -> None:
    with Session.open(sample.video, reader="a") as session:
        session.correct(0, of(session, 1))
    top, away = session.folder.parents[1], tmp_path / "away"
    (top / link).rename(away)
    (top / link).symlink_to(away, target_is_directory=True)
    with pytest.raises(SessionError, match="is a symbolic link"):
        Session.open(sample.video, reader="a")
    with Session.open(sample.video, reader="a", read_only=True) as seen:
        assert seen.frames_with("corrected") == [0]


def test_the_video_is_found_where_it_was_renamed_and_the_folder_moved(sample) -> None:
    with Session.open(sample.video, reader="a") as session:
        session.correct(0, of(session, 1))
    renamed = sample.video.rename(sample.video.with_name("renamed"))
    with Session.open(session.folder) as again:
        assert again.video_path == renamed
    with Session.open(renamed, reader="a") as again:
        assert again.folder == session.folder and again.frames_with("corrected") == [0]


def test_a_reader_s_folder_alone_is_a_session(sample, tmp_path: Path) -> None:
    with Session.open(sample.video, reader="a") as session:
        session.correct(0, of(session, 1))
    sent = Path(shutil.copytree(session.folder, tmp_path / "sent"))
    with Session.open(sent) as alone:
        assert alone.reader == "a" and alone.frames_with("corrected") == [0]
    with Session.open(sent, reader="a") as alone:
        assert alone.folder == sent
    assert vivim.readers_of(sent) == ["a"]


def test_a_session_in_the_place_of_another_reader_is_told(sample) -> None:
    with Session.open(sample.video, reader="a") as session:
        top = session.folder.parents[1]
    (top / "readers" / "a").rename(top / "readers" / "b")
    with pytest.raises(SessionError, match="holds the session of reader a"):
        Session.open(sample.video, reader="b")
    values = json.loads((top / "readers" / "b" / "session.json").read_text())
    (top / "readers" / "b" / "session.json").write_text(json.dumps({**values, "reader": "../b"}))
    with pytest.raises(SessionError, match="damaged"):
        Session.open(sample.video, reader="b")
    assert list(sessions_in(top)) == ["b"]
