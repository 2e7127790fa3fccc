"""Cut the power at random moments while sessions are made, corrected, proposed, undone and imported into.

``python -m benchmarks.power_cuts --rounds 20``. Linux and root only. A file of 48 MB holds an ext4 file system, mounted
through a loop device. The file is copied while a program works on it, as a cut would leave it; the copy is mounted,
which replays its journal, and the session is opened. All that the program had been told is done a second before is
there, to the pixel and with the right status, or what was done to that frame since. Prints counts, and exits with 1 if
anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from vivim.errors import SessionError
from vivim.imports import import_masks
from vivim.session import Session
from vivim.session.record import digest
from vivim.session.writer import PERSONS

KINDS = ("correct", "propose", "undo", "import", "create")
FRAMES, SIZE = 24, (96, 128)
MEGABYTES = 48
SURE_SECONDS = 1.0
"""What was acknowledged so long ago must be there."""
State = tuple[str, str]


class NoLoopDevice(Exception):
    """File systems cannot be made or mounted here."""


@contextlib.contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """The file system in a file, at `place` while the block lasts."""
    place.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise NoLoopDevice(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NoLoopDevice(f"{command[0]}: {done.stderr.strip()}")


class Told:
    """What a program was told is done, and when: of each frame the states it went through, the latest last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, list[tuple[float, State]]] = {}
        self._trying: dict[int, set[State]] = {}
        self.made = float("inf")

    def trying(self, frames: list[int], *states: State) -> None:
        """These frames are about to become one of `states`, or again what they were at some time."""
        with self._lock:
            for t in frames:
                self._trying[t] = {*states, *(state for _, state in self._states.get(t, ()))}

    def done(self, session: Session, frames: list[int]) -> None:
        """It was acknowledged."""
        for t in frames:
            state = session.status(t), digest(session.masks[t])
            with self._lock:
                self._states.setdefault(t, []).append((time.monotonic(), state))
                self._trying.pop(t, None)

    def allowed(self, since: float, until: float) -> dict[int, set[State]]:
        """What each frame may be on a disk that was copied from `since` to `until`: nothing older than sure."""
        with self._lock:
            found = {}
            for t, states in self._states.items():
                sure = [state for when, state in states if when < since - SURE_SECONDS][-1:]
                since_then = [state for when, state in states if since - SURE_SECONDS <= when]
                found[t] = {*(sure or [EMPTY]), *since_then, *self._trying.get(t, ())}
            for t, trying in self._trying.items():
                found.setdefault(t, {EMPTY}).update(trying)
            return found


EMPTY = ("empty", digest(np.zeros(SIZE, np.uint8)))


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, SIZE, dtype=np.uint8)


def work(kind: str, video: Path, disk: Path, told: Told, stop: threading.Event, seed: int) -> None:
    """Work until told to stop; a session stays open until its disk was copied."""
    rng = np.random.default_rng(seed)
    home = disk / "clip.vivim"
    if kind == "create":
        home = disk / "a" / "b" / "clip.vivim"
        time.sleep(rng.uniform(0, 0.5))
    session = Session.open(video, folder=home, author="ann")
    told.made = time.monotonic()
    while not stop.is_set():
        step(kind, session, told, rng)
        time.sleep(rng.uniform(0, 0.05))
    session.close()


def step(kind: str, session: Session, told: Told, rng: np.random.Generator) -> None:
    t, mask = int(rng.integers(FRAMES)), noise(rng)
    if kind in ("propose", "import") and rng.random() < 0.7:
        if kind == "import":
            folder = Path(tempfile.mkdtemp())
            masks = np.stack([noise(rng) for _ in range(FRAMES)])
            tifffile.imwrite(folder / "masks.tif", masks)
            for k in range(FRAMES):
                told.trying([k], ("corrected", digest(masks[k])))
            for _ in import_masks(session, folder / "masks.tif", "corrected"):
                pass
            shutil.rmtree(folder)
            told.done(session, list(range(FRAMES)))
        elif session.status(t) not in PERSONS:
            told.trying([t], ("proposed", digest(mask)))
            session.propose(t, mask, "v1", 0.5)
            told.done(session, [t])
        return
    if kind == "undo" and rng.random() < 0.5:
        back = rng.random() < 0.7
        frames = session.undo_frames() if back else session.redo_frames()
        told.trying(frames, EMPTY)
        told.done(session, session.undo() if back else session.redo())
        return
    told.trying([t], ("corrected", digest(mask)))
    session.editable()[t] = mask
    told.done(session, [t])


def cut(kind: str, seed: int) -> int:
    """One power cut; returns of how many frames something had been acknowledged.

    Raises
    ------
    AssertionError
        If something is lost, or not what it was.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="vivim-power") as name:
        root = Path(name)
        tifffile.imwrite(root / "clip.tif", np.zeros((FRAMES, *SIZE), np.uint8))
        with (root / "disk").open("wb") as file:
            file.truncate(MEGABYTES * 2**20)
        _run("mkfs.ext4", "-q", "-F", str(root / "disk"))
        told, stop = Told(), threading.Event()
        with mounted(root / "disk", root / "live") as live:
            failed: list[BaseException] = []
            worker = threading.Thread(
                target=_caught, args=(failed, kind, root / "clip.tif", live, told, stop, seed)
            )
            worker.start()
            time.sleep(rng.uniform(0.2, 1.5) if kind == "create" else rng.uniform(1.2, 4.0))
            since = time.monotonic()
            allowed, made = told.allowed(since, since), told.made
            shutil.copy(root / "disk", root / "cut")
            later = told.allowed(since, time.monotonic())
            stop.set()
            worker.join()
            assert not failed, failed
        with mounted(root / "cut", root / "after") as after:
            return check(kind, root / "clip.tif", after, made < since - SURE_SECONDS, allowed, later)


def _caught(failed: list[BaseException], *values: object) -> None:
    try:
        work(*values)  # type: ignore[arg-type]
    except BaseException as error:
        failed.append(error)
        raise


def check(
    kind: str, video: Path, disk: Path, made: bool, allowed: dict[int, set[State]], later: dict[int, set[State]]
) -> int:
    home = disk / ("a/b/clip.vivim" if kind == "create" else "clip.vivim")
    assert (home / "session.json").is_file() or not made, "the session is gone"
    try:
        session = Session.open(video, folder=home)
    except SessionError as error:
        raise AssertionError(str(error)) from error
    with session:
        for t in range(FRAMES):
            found = session.status(t), digest(session.masks[t])
            states = allowed.get(t, {EMPTY}) | later.get(t, set())
            assert found in states, f"frame {t} is {found}, not one of {states}"
        assert session.verify() == [], f"the ledger tells something else of frames {session.verify()}"
        session.undo()
        assert session.verify() == [], "what was undone is not what it was"
    return len(allowed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="cuts of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        print("only root can mount a disk")
        return 2
    survived, acknowledged, failures = Counter(), Counter(), []
    for number in range(args.rounds):
        for kind in args.kinds:
            try:
                acknowledged[kind] += cut(kind, args.seed + number)
                survived[kind] += 1
            except NoLoopDevice as error:
                print(f"a disk cannot be mounted here: {error}")
                return 2
            except AssertionError as error:
                failures.append(f"{kind} {args.seed + number}: {error}")
                print(failures[-1], flush=True)
    print(json.dumps({"survived": survived, "acknowledged": acknowledged, "failures": failures}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
