"""One writer at a time on any disk, and nothing written outside a session's folder."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError

fcntl = pytest.importorskip("fcntl", reason="another system has other locks")

WRITTEN = [
    "lock",
    "lock.holder",
    "lock.marker",
    "session.json",
    ".session.json.part",
    "ledger.jsonl",
    "masks.zarr",
    "masks.zarr/zarr.json",
    "masks.zarr/c",
    "undo",
    "undo/00000001.undo",
    "undo/00000002.undo",
    "proposals",
    "proposals/3.mask",
    "proposals/.3.part",
    "backup-schema-1",
    "backup-schema-1/session.json",
]


def ones(session: Session) -> np.ndarray:
    return np.ones(session.shape[1:], np.uint8)


@pytest.fixture
def handed_over(session: Session) -> Path:
    """A closed session with something of everything in it."""
    session.propose(3, ones(session) * 2, "v1")
    session.correct(3, ones(session))
    session.close()
    (session.folder / "backup-schema-1").mkdir()
    shutil.copy(session.folder / "session.json", session.folder / "backup-schema-1")
    return session.folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("target", ["whole", "missing"])
def test_a_session_that_leads_out_of_its_folder_is_not_written(
    handed_over: Path, tmp_path: Path, name: str, target: str
) -> None:
    outside, path = tmp_path / "outside", handed_over / name
    outside.mkdir()
    if path.exists() and target == "whole":
        shutil.move(path, outside / "it")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(outside / "it")
    before = contents(outside)
    with pytest.raises(SessionError):
        Session.open(handed_over)
    assert contents(outside) == before
    assert path.is_symlink() and path.readlink() == outside / "it"
    if target == "whole" and name not in ("masks.zarr/c", "session.json"):
        with Session.open(
            handed_over, read_only=True
        ) as reader:  # as a store of large files may lay them out
            assert reader.status(3) == "corrected" and (reader.masks[3] == 1).all()
    path.unlink()


@pytest.mark.parametrize("depth", ["c/5", "c/5/0"])
def test_a_mask_whose_folder_leads_out_is_not_written(handed_over: Path, tmp_path: Path, depth: str) -> None:
    outside = tmp_path / "outside"
    (outside / "0").mkdir(parents=True)
    (outside / "0" / "x.partial").write_text("mine")
    (outside / "x.partial").write_text("mine")
    link = handed_over / "masks.zarr" / depth
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    (handed_over / "lock.holder").write_text("process 1, killed")  # so that what it left is swept
    before = contents(outside)
    with Session.open(handed_over) as session:
        with pytest.raises(SessionError, match="symbolic link"):
            session.correct(5, ones(session))
        assert session.status(5) == "corrected" and not session.propose(5, ones(session), "v1")  # as in doubt
        session.correct(6, ones(session))
    assert contents(outside) == before


@pytest.mark.parametrize(
    "name", ["lock", "lock.holder", "ledger.jsonl", "undo/00000001.undo", "proposals/3.mask"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_said_and_holds_nobody(handed_over: Path, name: str, kind: str) -> None:
    path = handed_over / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    if kind == "folder" and "/" in name:
        pytest.skip("a folder among them is nobody's, and is left alone")
    for read_only in (False, True):
        with pytest.raises(SessionError, match=f"{path.name} is no file. Delete it"):
            Session.open(handed_over, read_only=read_only)


def test_a_new_session_is_not_made_in_a_folder_that_leads_out(sample, tmp_path: Path) -> None:
    outside, home = tmp_path / "outside", tmp_path / "home.vivim"
    outside.mkdir()
    home.mkdir()
    (home / "masks.zarr").symlink_to(outside)
    with pytest.raises(SessionError, match="symbolic link"):
        Session.open(sample.video, folder=home)
    session = Session.open(sample.video, folder=home, lazy=True)
    with pytest.raises(SessionError, match="symbolic link"):
        session.correct(0, ones(session))
    session.close()
    assert list(outside.iterdir()) == []


# -- disks without locks ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["ENOSYS", "ENOTSUP", "ENOLCK"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which no file can be locked."""

    def refused(descriptor: int, operation: int) -> None:
        raise OSError(getattr(errno, request.param), "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)


def test_a_session_copied_to_a_disk_without_locks_opens_for_one_writer(
    handed_over: Path, tmp_path: Path, no_locks: None
) -> None:
    copy = tmp_path / "copy.vivim"
    shutil.copytree(handed_over, copy)
    assert (copy / "lock").exists()
    for _ in range(2):  # it is let go of each time
        with Session.open(copy) as session:
            session.correct(4, ones(session))
            with pytest.raises(SessionError, match=f"process {os.getpid()} on .* delete .*lock.marker"):
                Session.open(copy)
    assert not (copy / "lock.marker").exists() and not (copy / "lock.holder").exists()


WITHOUT_LOCKS = """
import fcntl, os, sys
def refused(*_): raise OSError(38, "no locks here")
fcntl.flock = refused
from vivim import Session
session = Session.open(sys.argv[1])
print(session._folder_lock.after_crash, flush=True)
sys.stdin.read()
if len(sys.argv) < 3:
    os._exit(1)
session.close()
"""


def writer_without_locks(folder: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WITHOUT_LOCKS, str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_where_no_file_can_be_locked_a_dead_writer_holds_nobody_up(handed_over: Path, no_locks: None) -> None:
    with writer_without_locks(handed_over) as first:
        assert first.stdout.readline() == "False\n"
        with pytest.raises(SessionError, match=f"process {first.pid} on "):
            Session.open(handed_over)
    with Session.open(handed_over) as session:  # the first was killed
        assert session._folder_lock.after_crash and session.frames_with("corrected") == [3]


def test_a_marker_from_another_machine_is_not_taken_away_and_it_is_said_what_to_do(
    handed_over: Path, no_locks: None
) -> None:
    marker = handed_over / "lock.marker"
    marker.write_text("4711\nanother-machine\n")
    with pytest.raises(SessionError, match=r"If it is open nowhere any more, delete .*lock\.marker"):
        Session.open(handed_over)
    marker.unlink()
    Session.open(handed_over).close()


@pytest.mark.parametrize("error", ["EACCES", "EAGAIN"])
def test_a_lock_that_is_refused_is_somebody_elses(handed_over: Path, monkeypatch, error: str) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(getattr(errno, error), "held")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(SessionError, match="open in another window or program"):
        Session.open(handed_over)
    monkeypatch.undo()
    Session.open(handed_over).close()


def test_of_many_who_open_at_once_one_writes(handed_over: Path) -> None:
    code = (
        "import sys\nfrom vivim import Session\nfrom vivim.errors import SessionError\nsys.stdin.readline()\n"
        "try:\n    session = Session.open(sys.argv[1])\n    print('writes', flush=True)\n    sys.stdin.readline()\n"
        "except SessionError as error:\n    print('another' if 'another window' in str(error) else error, flush=True)\n"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(handed_over)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        for one in several:
            one.stdin.write("go\n")
            one.stdin.flush()
        said = sorted(one.stdout.readline().strip() for one in several)
    finally:
        for one in several:
            one.communicate()
    assert said == ["another", "another", "writes"]


# -- the first write --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", range(1, 14))
def test_after_a_first_write_that_failed_the_next_one_goes_through(
    sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    """The `where`-th call that writes fails as on a full disk."""
    calls = [0]

    def fails(real: Callable) -> Callable:
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == where:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call

    session = Session.open(sample.video, folder=tmp_path / "s", lazy=True)
    with monkeypatch.context() as full:
        full.setattr(os, "replace", fails(os.replace))
        full.setattr(os, "fsync", fails(os.fsync))
        full.setattr(Path, "write_text", fails(Path.write_text))
        full.setattr(Path, "mkdir", fails(Path.mkdir))
        full.setattr(Path, "open", fails(Path.open))
        try:
            session.correct(3, ones(session))
        except SessionError as error:
            assert "No space left" in str(error)
    session.name_classes(["nodule"])  # changed between the two
    session.correct(4, ones(session))
    session.close()
    assert not (tmp_path / "s" / "lock.holder").exists()
    with Session.open(tmp_path / "s") as again:
        assert again.status(4) == "corrected" and again.classes == ("nodule",) and again.verify() == []


def test_a_session_made_by_another_program_meanwhile_is_not_taken_over(sample, tmp_path: Path) -> None:
    looking = Session.open(sample.video, folder=tmp_path / "s", lazy=True)
    looking._description = Session.open(sample.video, folder=tmp_path / "x", lazy=True)._description
    with Session.open(sample.video, folder=tmp_path / "s") as other:
        other._describe(other._description.__class__(**{**vars(other._description), "created": "2020"}))
        other.correct(3, ones(other))
    with pytest.raises(SessionError, match="made by another window"):
        looking.correct(3, ones(looking) * 2)
    looking.close()
    with Session.open(tmp_path / "s") as again:
        assert (again.masks[3] == 1).all()


def test_closing_what_never_had_the_folder_takes_nothing_from_who_has(
    sample, tmp_path: Path, monkeypatch
) -> None:
    session = Session.open(sample.video, folder=tmp_path / "s", lazy=True)
    with monkeypatch.context() as full:
        full.setattr(session._ledger, "open", lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(SessionError, match="full"):
            session.correct(3, ones(session))
    with Session.open(tmp_path / "s") as other:
        session.close()
        assert (
            (other.folder / "lock.holder")
            .read_text()
            .startswith(f"process {os.getpid()} on {socket.gethostname()}")
        )
