"""Cut the power at random moments while sessions are made, corrected, proposed, undone and imported into.

``python tests/robustness/power_cuts.py --rounds 20``. Linux and root only. A file of 48 MB holds an ext4 file system,
mounted through a loop device. A program that works on it is stopped between two calls of the system, and the file is
copied, as a cut would leave it; twice, until both copies agree, so that nothing changed meanwhile. The copy is mounted,
which replays its journal, and the session is opened. Of every frame, what was acknowledged before the last finished
flush began is there, to the pixel and with the right status, or what was done to the frame since. A frame that
something was being done to may also be in doubt, if that is told. Prints counts, how long before the cut the last
finished flush had begun (in seconds: the median and the longest), and exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tifffile
from vivim.errors import SessionError
from vivim.io.import_masks import import_masks
from vivim.session import Session
from vivim.session.ledger import PERSONS, digest

KINDS = ("correct", "propose", "undo", "import", "create")
FRAMES, SIZE = 24, (96, 128)
MEGABYTES = 48
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
        self._states: dict[int, list[tuple[float, State]]] = {}
        self._trying: dict[int, set[State]] = {}
        self.made = False
        self.flushed = 0.0

    def hear(self, word: str, when: float, frames: list[int], states: list[State]) -> None:
        """Take note of what the program says."""
        self.made |= word == "made"
        if word == "flushed":
            self.flushed = max(when, self.flushed)
        for number, t in enumerate(frames):
            if word == "done":
                self._states.setdefault(t, []).append((when, states[number]))
                self._trying.pop(t, None)
            else:
                self._trying[t] = {*states, *(state for _, state in self._states.get(t, ()))}

    def allowed(self) -> dict[int, set[State]]:
        """What each frame may be after a cut: nothing older than what was flushed."""
        found = {}
        for t, states in self._states.items():
            sure = [state for when, state in states if when < self.flushed][-1:]
            found[t] = {*(sure or [EMPTY]), *(state for when, state in states if when >= self.flushed)}
        for t, trying in self._trying.items():
            found.setdefault(t, {EMPTY}).update(trying)
        return found


class Said:
    """The program's end of the line. Methods may be called from any thread."""

    def __init__(self, line: Connection) -> None:
        self._line, self._turn = line, threading.Lock()

    def _send(self, word: str, when: float, frames: Sequence[int] = (), states: Sequence[State] = ()) -> None:
        with self._turn:
            self._line.send((word, when, list(frames), list(states)))

    def started(self) -> None:
        """The program is about to make a session."""
        self._send("started", time.monotonic())

    def made(self, session: Session) -> None:
        """The session is there; from now on every finished flush is told, with when it began."""
        self._send("made", time.monotonic())
        flush = session._flusher.flush

        def told() -> None:
            began = time.monotonic()
            flush()
            self._send("flushed", began)

        session._flusher.flush = told  # type: ignore[method-assign]

    def trying(self, frames: list[int], *states: State) -> None:
        """These frames are about to become one of `states`, or again what they were at some time."""
        self._send("try", time.monotonic(), frames, states)

    def done(self, session: Session, frames: list[int]) -> None:
        """It was acknowledged."""
        when = time.monotonic()
        states = [(session.status(t), digest(session.masks[t])) for t in frames]
        self._send("done", when, frames, states)


EMPTY = ("empty", digest(np.zeros(SIZE, np.uint8)))


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, SIZE, dtype=np.uint8)


def work(kind: str, video: Path, disk: Path, line: Connection, seed: int) -> None:
    """Work for ever, and say what is done."""
    rng, told = np.random.default_rng(seed), Said(line)
    home = disk / "clip.vivim"
    if kind == "create":
        home = disk / "a" / "b" / "clip.vivim"
        told.started()
    session = Session.open(video, folder=home, author="ann")
    told.made(session)
    while True:
        step(kind, session, told, rng)
        time.sleep(rng.uniform(0, 0.05))


def step(kind: str, session: Session, told: Said, rng: np.random.Generator) -> None:
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


def cut(kind: str, seed: int) -> tuple[int, float]:
    """One power cut.

    Returns
    -------
    int, float
        Of how many frames something had been acknowledged; how many seconds before the last finished flush had begun.

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
        told = Told()
        with mounted(root / "disk", root / "live") as live:
            context = multiprocessing.get_context("spawn")
            line, other = context.Pipe()
            victim = context.Process(target=work, args=(kind, root / "clip.tif", live, other, seed))
            victim.start()
            try:
                told.hear(*line.recv())
                until = time.monotonic() + rng.uniform(0.0 if kind == "create" else 1.0, 4.0)
                while (left := until - time.monotonic()) > 0:
                    if line.poll(left):
                        told.hear(*line.recv())
                os.kill(victim.pid or 0, signal.SIGSTOP)
                since = time.monotonic()
                assert victim.is_alive(), "the program ended by itself"
                while line.poll():
                    told.hear(*line.recv())
                copy_at_rest(root / "disk", root / "cut")
            finally:
                victim.kill()
                victim.join()
        with mounted(root / "cut", root / "after") as after:
            count = check(kind, root / "clip.tif", after, told.made, told.allowed())
    return count, since - told.flushed if told.flushed else 0.0


def copy_at_rest(disk: Path, to: Path) -> None:
    """A copy that nothing was written during."""
    shutil.copy(disk, to)
    while True:
        again = to.with_name("again")
        shutil.copy(disk, again)
        same = filecmp.cmp(to, again, shallow=False)
        os.replace(again, to)
        if same:
            return


def check(kind: str, video: Path, disk: Path, made: bool, allowed: dict[int, set[State]]) -> int:
    """Of how many frames something had been acknowledged, if all of it is there."""
    home = disk / ("a/b/clip.vivim" if kind == "create" else "clip.vivim")
    assert (home / "session.json").is_file() or not made, "the session is gone"
    with Session.open(video, folder=home) as session:
        session.verify()
        in_doubt = session.damage
        for t in range(FRAMES):
            found, states = (session.status(t), digest(session.masks[t])), allowed.get(t, {EMPTY})
            if t in in_doubt:  # something of it was on its way to the disk, and that is told
                assert len(states) > 1 and found[0] in PERSONS, f"frame {t} is in doubt: {in_doubt[t]}"
                assert found[1] in {mask for _, mask in states}, f"frame {t} is in doubt, and no mask it had"
            else:
                assert found in states, f"frame {t} is {found}, not one of {states}"
        session.undo()
        assert set(session.verify()) <= set(in_doubt), "what was undone is not what it was"
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
    survived, acknowledged, failures, lags = Counter(), Counter(), [], [0.0]
    for number in range(args.rounds):
        for kind in args.kinds:
            try:
                count, lag = cut(kind, args.seed + number)
                acknowledged[kind] += count
                lags.append(lag)
                survived[kind] += 1
            except NoLoopDevice as error:
                print(f"a disk cannot be mounted here: {error}")
                return 2
            except (AssertionError, SessionError) as error:
                failures.append(f"{kind} {args.seed + number}: {error}")
                print(failures[-1], flush=True)
    lag = [round(float(value), 2) for value in (np.median(lags), max(lags))]
    print(
        json.dumps({"survived": survived, "acknowledged": acknowledged, "lag_s": lag, "failures": failures})
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
