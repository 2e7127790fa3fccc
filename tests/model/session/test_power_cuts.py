"""A disk that forgets what was not flushed, cut off at any moment: what was acknowledged and flushed is there.

The disk is modelled over real files. Of a file, what it held when it was last flushed is sure to be there; else all,
a part, zeros or nothing of it may be. Of a folder, the names it had when it was last flushed are sure; else any of the
states that it went through since. What one file or folder kept says nothing of another.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vivim import Session
from vivim.session import flusher
from vivim.session.ledger import PERSONS, digest

State = tuple[str, str]
"""Of a frame: its status and the digest of its mask."""


class Disk:
    """A disk under `root`. At some of the moments at which something is about to change, `cut` is called."""

    def __init__(self, root: Path, spare: Path) -> None:
        self.root, self._spare = root, spare
        self._turn, self._busy = threading.RLock(), threading.local()
        self._folders: dict[int, list[dict[str, int]]] = {}
        self._sure: dict[int, bytes] = {}
        self.cut: Callable[[], None] | None = None
        self._touched: deque[str] = deque(maxlen=40)
        self._paths: dict[int, str] = {}
        self.on = True
        spare.mkdir()
        self.flush_all()

    def flush_all(self) -> None:
        """Take for sure all that is there."""
        for folder in [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]:
            self._look(str(folder))
        self._folders = {number: states[-1:] for number, states in self._folders.items()}
        for path in self._spare.iterdir():
            self._sure[int(path.name)] = path.read_bytes()

    def _look(self, folder: str) -> None:
        """Take note of what a folder holds now."""
        try:
            number, entries = os.stat(folder).st_ino, list(os.scandir(folder))
            for entry in entries:
                if not entry.is_dir() and not (self._spare / str(entry.inode())).exists():
                    os.link(entry.path, self._spare / str(entry.inode()))  # its number is not used anew
        except (FileNotFoundError, NotADirectoryError):
            return  # gone, or another thread is ahead: it is looked at again before anything else changes there
        found = {entry.name: entry.inode() for entry in entries}
        self._paths[number] = folder
        states = self._folders.setdefault(number, [{}])
        if states[-1] != found:
            states.append(found)

    def happens(self, *paths: str) -> None:
        """Something is about to change at `paths`."""
        if not self.on or getattr(self._busy, "now", False):
            return
        with self._turn:
            self._busy.now = True
            try:
                for folder in set(self._touched):  # what was about to change has changed by now
                    self._look(folder)
                self._touched.extend(map(os.path.dirname, paths))
                for path in paths:
                    self._look(os.path.dirname(path))
                if self.cut is not None:
                    self.cut()
            finally:
                self._busy.now = False

    def flush(self, descriptor: int) -> None:
        """In place of `os.fsync`."""
        self.happens()
        info = os.fstat(descriptor)
        with self._turn:
            self._busy.now = True
            try:
                if stat.S_ISDIR(info.st_mode):
                    if info.st_ino in self._paths:
                        self._look(self._paths[info.st_ino])
                    self._folders[info.st_ino] = self._folders.get(info.st_ino, [{}])[-1:]
                elif (self._spare / str(info.st_ino)).exists():
                    self._sure[info.st_ino] = (self._spare / str(info.st_ino)).read_bytes()
            finally:
                self._busy.now = False
        self.happens()

    def after_cut(self, place: Path, rng: random.Random) -> None:
        """Write what may be on the disk after a cut now; how much was forgotten differs from cut to cut."""
        kept = rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        self._write(self.root.stat().st_ino, place, rng, kept)

    def _write(self, number: int, place: Path, rng: random.Random, kept: float) -> None:
        place.mkdir()
        states = self._folders.get(number, [{}])
        state = states[-1] if rng.random() < kept else rng.choice(states)
        for name, inner in state.items():
            held = self._spare / str(inner)
            if not held.exists():
                self._write(inner, place / name, rng, kept)
            else:
                (place / name).write_bytes(self._content(inner, held.read_bytes(), rng, kept))

    def _content(self, number: int, now: bytes, rng: random.Random, kept: float) -> bytes:
        sure = self._sure.get(number, b"")
        if now == sure or rng.random() < kept:
            return now
        if not now.startswith(sure):
            return rng.choice((sure, now))
        part = now[: rng.randint(len(sure), len(now))]
        return rng.choice((sure, part, part + bytes(len(now) - len(part))))


_disks: list[Disk] = []
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _heard(event: str, values: tuple[Any, ...]) -> None:
    """Hears what this process is about to do, of which Python tells before it happens."""
    if not _disks or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        return
    if event == "open" and not (isinstance(values[2], int) and values[2] & _WRITES):
        return
    names = [os.fspath(value) for value in values[:2] if isinstance(value, str | os.PathLike)]
    paths = [name for name in names if str(name).startswith(str(_disks[-1].root))]
    if paths:
        _disks[-1].happens(*paths)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that forgets; the sessions on it flush every few milliseconds."""
    if os.name == "nt":
        pytest.skip("files have no numbers here by which to know them")
    if not getattr(sys, "_vivim_lossy", False):
        sys.addaudithook(_heard)
        sys._vivim_lossy = True  # type: ignore[attr-defined]
    (tmp_path / "disk").mkdir()
    made = Disk(tmp_path / "disk", tmp_path / "spare")
    _disks.append(made)
    monkeypatch.setattr(os, "fsync", made.flush)
    monkeypatch.setattr("vivim.utils.atomic_files.sys.platform", "any")  # no flush but `os.fsync`
    monkeypatch.setattr(flusher, "SECONDS", 0.01)
    yield made
    made.on = False
    _disks.remove(made)


def state(session: Session, t: int) -> State:
    return session.status(t), digest(session.masks[t])


class Witness:
    """What each frame may be after a cut: what it was when all was flushed, and all that was done to it since."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ever = [{state(session, t)} for t in range(len(session))]
        self.now = [state(session, t) for t in range(len(session))]
        self.allowed = [{one} for one in self.now]

    def may_be(self, t: int, *states: State) -> None:
        """About to be done."""
        self.allowed[t] |= set(states)

    def acknowledged(self) -> None:
        """A step was done."""
        for t in range(len(self.session)):
            self.now[t] = state(self.session, t)
            self.allowed[t].add(self.now[t])
            self.ever[t].add(self.now[t])

    def flushed(self) -> None:
        """All of it has reached the disk."""
        self.allowed = [{one} for one in self.now]

    def copy(self) -> list[set[State]]:
        return [set(states) for states in self.allowed]


def work(session: Session, seen: Witness, rng: random.Random, steps: int) -> None:
    """What persons and models do to a session; now and then everything is flushed."""
    editor, shape = session.editable(), session.shape[1:]
    for _ in range(steps):
        t = rng.randrange(len(session))
        what = rng.choice("ssssspppaAxzvurecf")
        drawn = editor[t]
        y, x = rng.randrange(shape[0] - 4), rng.randrange(shape[1] - 4)
        drawn[y : y + 4, x : x + 4] = rng.randrange(1, 5)
        if what == "s":
            seen.may_be(t, ("corrected", digest(drawn)), *seen.ever[t])
            editor[t] = drawn
        elif what == "c":
            seen.may_be(t, ("corrected", digest(drawn)))
            session.correct(t, drawn)
        elif what == "p" and session.status(t) not in PERSONS:
            seen.may_be(t, ("proposed", digest(drawn)))
            session.propose(t, drawn, "v1", 0.5)
        elif what == "a" and session.status(t) != "empty":
            seen.may_be(t, ("accepted", seen.now[t][1]))
            session.accept(t)
        elif what == "A":
            for k in range(t):
                seen.may_be(k, ("accepted", seen.now[k][1]))
            session.accept_frames(range(t))
        elif what == "x":
            seen.may_be(t, ("corrected", digest(np.zeros(shape, np.uint8))))
            session.clear(t)
        elif what == "z":
            seen.may_be(t, ("empty", digest(np.zeros(shape, np.uint8))))
            session.reset(t)
        elif what == "v":
            seen.may_be(t, *seen.ever[t])
            session.revert(t)
        elif what in "ur":
            for k in session.undo_frames() if what == "u" else session.redo_frames():
                seen.may_be(k, *seen.ever[k])
            (session.undo if what == "u" else session.redo)()
        elif what == "e":
            session.end_step()
        elif what == "f":
            session.flush()
            seen.acknowledged()
            seen.flushed()
        seen.acknowledged()


def listing(folder: Path) -> Callable[[int], str]:
    """What is on the disk of a frame after a cut, for whoever reads of a failure."""
    lines = (folder / "ledger.jsonl").read_text(errors="replace").splitlines()
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]

    def of(t: int) -> str:
        said = [line for line in lines if f'"frame":{t},' in line]
        return "\n".join([*said, *(name for name in names if f"/c/{t}/" in name or "/" not in name)])

    return of


def cutting(
    disk: Disk, place: Path, rng: random.Random, chance: float, most: int, expected: Callable[[], Any]
):
    """Cut the disk off now and then from here on; gives the places of the cuts with what was expected then."""
    cuts: list[tuple[Path, Any]] = []
    place.mkdir()

    def cut() -> None:
        if len(cuts) < most and rng.random() < chance:
            there = place / str(len(cuts))
            cuts.append((there, expected()))
            disk.after_cut(there, rng)

    disk.cut = cut
    return cuts


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_leaves_what_was_flushed_as_what_it_was(
    sample, disk: Disk, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    session = Session.open(sample.video, folder=disk.root / "s.vivim", author="ann")
    seen = Witness(session)
    cuts = cutting(disk, tmp_path / "cuts", rng, 0.06, 30, seen.copy)
    work(session, seen, rng, 50)
    session.close()
    seen.flushed()
    disk.cut = None
    disk.after_cut(tmp_path / "end", rng)
    disk.on = False
    assert len(cuts) > 10
    for place, allowed in [*cuts, (tmp_path / "end", seen.copy())]:
        before = listing(place / "s.vivim")
        with Session.open(place / "s.vivim") as again:
            told = again.verify()
            for t, states in enumerate(allowed):
                status, mask = state(again, t)
                assert (status, mask) in states or t in told, f"{place.name}: frame {t}, {before(t)}"
                if (
                    t in told
                ):  # something of it was on its way to the disk: a mask that it had, and a person's
                    assert len(states) > 1 and status in PERSONS, f"{place.name}: frame {t}, {before(t)}"
                    assert mask in {one for _, one in states}, f"{place.name}: frame {t}, {before(t)}"
            undone = again.undo()
            assert set(again.verify()) <= set(told), (undone, before(again.verify()[0]))
        shutil.rmtree(place)


def test_a_session_being_made_is_there_as_a_whole_or_can_be_made_anew(
    sample, disk: Disk, tmp_path: Path
) -> None:
    rng, made = random.Random(5), [False]
    cuts = cutting(disk, tmp_path / "cuts", rng, 0.7, 60, lambda: made[0])
    home = Path("new", "folders", "s.vivim")
    with Session.open(sample.video, folder=disk.root / home) as session:
        made[0] = True
        session.name_classes(["polyp"])
    disk.on = False
    assert len(cuts) > 20
    for place, done in cuts:
        if done:
            assert (place / home / "session.json").is_file()
        with Session.open(sample.video, folder=place / home) as again:
            assert again.classes in (("lesion",), ("polyp",)) and again.verify() == []
            again.correct(1, sample.masks[1])
            assert again.status(1) == "corrected"


def test_an_old_session_being_brought_up_to_date_stays_whole(sample, disk: Disk, tmp_path: Path) -> None:
    import json

    with Session.open(sample.video, folder=disk.root / "s.vivim") as session:
        session.correct(3, sample.masks[3])
        session.propose(4, sample.masks[4], "v1")
    file = session.folder / "session.json"
    values = {**json.loads(file.read_text()), "schema": 3, "video": "folder/clip.mp4"}
    file.write_text(json.dumps(values))
    disk.flush_all()
    rng = random.Random(6)
    cuts = cutting(disk, tmp_path / "cuts", rng, 0.7, 60, lambda: None)
    Session.open(session.folder).close()
    disk.on = False
    assert len(cuts) > 10
    for place, _ in cuts:
        with Session.open(place / "s.vivim") as again:
            assert [again.status(t) for t in (3, 4)] == ["corrected", "proposed"] and again.verify() == []
        backup = place / "s.vivim" / "backup-schema-3"
        assert json.loads((backup / "session.json").read_text())["schema"] == 3


def test_tags_that_were_flushed_are_there_after_any_cut(sample, disk: Disk, tmp_path: Path) -> None:
    flushed = [0]
    with Session.open(sample.video, folder=disk.root / "s.vivim", reader="a") as session:
        cuts = cutting(disk, tmp_path / "cuts", random.Random(8), 0.5, 40, lambda: flushed[0])
        for k in range(12):
            session.tag(k, f"tag {k}")
            if k % 2:
                session.flush()
                flushed[0] = k + 1
    disk.on = False
    assert len(cuts) > 10
    for place, count in cuts:
        with Session.open(place / "s.vivim", reader="a") as again:
            assert [again.frames_tagged(f"tag {k}") for k in range(count)] == [[k] for k in range(count)]
            again.tag(0, "goes on")
            assert again.verify() == []


def test_names_of_classes_are_the_old_or_the_new_ones(sample, disk: Disk, tmp_path: Path) -> None:
    with Session.open(sample.video, folder=disk.root / "s.vivim") as session:
        names = [("lesion",)]
        cuts = cutting(disk, tmp_path / "cuts", random.Random(7), 0.8, 40, lambda: tuple(names))
        for k in range(6):
            names.append((f"class {k}",))
            session.name_classes(names[-1])
            if k % 2:
                session.flush()
                del names[:-1]
    disk.on = False
    assert len(cuts) > 10
    for place, allowed in cuts:
        for read_only in (True, False):
            with Session.open(place / "s.vivim", read_only=read_only) as again:
                assert again.classes in allowed
