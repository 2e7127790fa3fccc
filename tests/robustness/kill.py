"""Kill a program at random moments while it corrects, proposes, fine-tunes and exports; then see what is left.

``python tests/robustness/kill.py --rounds 100``. After each kill: all that the program had been told is done is there,
to the pixel and with the right status; nothing half-written is taken for whole; the next opening or export sweeps what
was in the making. Prints counts, and exits with 1 if any of this failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from vivim.session import Session
from vivim.session.ledger import digest
from vivim.utils import atomic_files
from vivim.video import make_phantom, open_video, write_video

VICTIMS = Path(__file__).with_name("victims.py")
FRAMES, SIZE = 10, (64, 80)
LONGEST = {"correct": 0.8, "propose": 1.5, "finetune": 12.0, "export": 1.2}
"""Seconds after the first thing a program says is done within which it is killed."""
Lines = list[list[str]]


def victim(kind: str, folder: Path, out: Path, home: Path, rng: random.Random) -> Lines:
    """Run a program, kill it, and return what it said; a line cut short is left out."""
    environment = {**os.environ, "VIVIM_HOME": str(home / "models"), "TMPDIR": str(home)}
    process = subprocess.Popen(
        [sys.executable, str(VICTIMS), kind, str(folder), str(out), str(rng.randrange(2**31))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    said: list[bytes] = []
    at_work = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if not line.startswith((b"try", b"round")):
                at_work.set()

    listener = threading.Thread(target=listen)
    listener.start()
    if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 3))  # while it starts
    else:
        at_work.wait(60)
        time.sleep(rng.uniform(0, LONGEST[kind]))
    gone = process.poll()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with_workers_dead(process.pid)
    listener.join()
    if gone is not None:
        raise RuntimeError(f"{kind} ended by itself: {process.stderr.read().decode()[-2000:]}")
    process.stdout.close()
    process.stderr.close()
    return [line.decode().split() for line in said if line.endswith(b"\n")]


def with_workers_dead(leader: int) -> None:
    """Also end the process a fine-tune ran apart: it dies by itself, but only at its next word."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # there was none


def states(session: Session) -> list[tuple[str, str]]:
    return [(session.status(t), digest(session.masks[t])) for t in range(len(session))]


def swept(folder: Path) -> list[str]:
    """What is left in the making in a folder; should be nothing."""
    names = (path.name for path in folder.rglob("*"))
    return [
        name for name in names if name.endswith((".partial", ".part")) or name.startswith((".part", ".old"))
    ]


def check_session(before: list[tuple[str, str]], said: Lines, folder: Path) -> int:
    """Every step that was done is there; the one in the making is there as a whole or not at all."""
    expected, trying, done = dict(enumerate(before)), None, 0
    for word, *rest in said:
        if word == "done":
            expected[int(rest[0])], trying, done = (rest[1], rest[2]), None, done + 1
        elif word == "try":
            trying = rest
    free = _frames(trying[0], len(before)) if trying else []
    with Session.open(folder) as session:
        found = states(session)
        last = {entry.frame: entry for entry in session.entries()}
        for t, state in enumerate(found):
            if state == expected[t]:
                continue
            assert t in free, f"frame {t} is {state}, was {expected[t]} when acknowledged"
            if trying and trying[0] == "?":  # a model at work: whole masks of frames nobody owns
                assert expected[t][0] in ("empty", "proposed"), f"frame {t} was a person's"
                assert state[0] in ("empty", "proposed")
                continue
            assert trying is not None
            if trying[2] != "?":
                assert state[1] in (expected[t][1], trying[2]), (
                    f"the mask of frame {t} is neither old nor new"
                )
            if trying[1] == "corrected" and state[1] == trying[2] != expected[t][1]:
                assert state[0] == "corrected", f"frame {t} was drawn by a person, but counts as {state[0]}"
        assert not swept(folder), f"left in the making: {swept(folder)}"
        for t in range(len(session)):
            said_of_it = last[t].status if t in last else "empty"
            in_doubt = t in free and session.damaged(t)  # cut short: it counts as a person's, and is told
            assert session.status(t) == said_of_it or in_doubt, (
                f"frame {t} is {session.status(t)}, not {said_of_it}"
            )
    return done


def _frames(said: str, count: int) -> list[int]:
    """The frames that a step may change: all, or those named."""
    return list(range(count)) if said == "?" else [int(t) for t in said.split(",")]


def check_models(said: Lines, home: Path) -> int:
    """Every version that was announced loads and is what it says; no file of the registry is half of one."""
    os.environ["VIVIM_HOME"] = str(home / "models")
    from vivim.registry.registry import list_models, load_model

    announced = [(name, version) for word, *rest in said if word == "model" for name, version in [rest]]
    for info in list_models():
        model = load_model(info.name)
        assert info.version == model.version or info.name == "starter", f"{info.name} is not what it says"
    for name, version in announced:
        assert load_model(name).version == version, f"{name} was announced as {version}"
    atomic_files.sweep(home)
    atomic_files.sweep(home / "models" / "models")
    assert not [path.name for path in home.glob("vivim-*")], "a working folder of a fine-tune stayed"
    assert not swept(home), f"left in the making: {swept(home)}"
    return len(announced)


def sides(out: Path) -> dict[str, set[int]]:
    """Of each file in a folder of exports: how large the squares in it are. Raises if one is not whole."""
    found: dict[str, set[int]] = {}
    if (out / "masks").exists():
        files = sorted((out / "masks").iterdir())
        assert len(files) == FRAMES, f"{len(files)} of {FRAMES} PNG files"
        found["png"] = {round(np.sqrt((np.asarray(Image.open(file)) > 0).sum())) for file in files}
    if (out / "masks.tif").exists():
        stack = tifffile.imread(out / "masks.tif")
        assert len(stack) == FRAMES, f"{len(stack)} of {FRAMES} pages"
        found["tiff"] = {round(np.sqrt(page.sum())) for page in stack}
    if (out / "overlay.mp4").exists():
        video = open_video(out / "overlay.mp4")
        assert len(video) == FRAMES and video.frame(FRAMES - 1).any(), "the overlay is cut short"
        video.close()
        found["mp4"] = set()
    if (out / "measurements.csv").exists():
        with (out / "measurements.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == FRAMES, f"{len(rows)} of {FRAMES} rows"
        found["csv"] = {round(np.sqrt(float(row["area_px"]))) for row in rows}
    return found


def check_exports(said: Lines, out: Path) -> int:
    """Every file announced is there, whole, of that round or the one in the making."""
    announced = {rest[0]: int(rest[1]) for word, *rest in said if word == "file"}
    now = max((int(rest[0]) for word, *rest in said if word == "round"), default=0)
    atomic_files.sweep(out)
    assert not swept(out), f"left in the making: {swept(out)}"
    found = sides(out)
    for name, side in announced.items():
        assert name in found, f"{name} of round {side} is gone"
        assert found[name] in ({side}, {now}, set()), f"{name} is of rounds {found[name]}, announced {side}"
    return len(announced)


class Stage:
    """A video, and a session for each kind of work, in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        phantom = make_phantom(FRAMES, size=SIZE)
        video = write_video(root / "video.mp4", phantom.frames, 20.0)
        for kind in LONGEST:
            with Session.open(video, folder=root / f"{kind}.vivim", author="victim") as session:
                for t in (1, 4, 8) if kind in ("propose", "finetune") else ():
                    session.correct(t, phantom.masks[t])

    def round(self, kind: str, rng: random.Random) -> int:
        """Kill once; returns how much had been acknowledged.

        Raises
        ------
        AssertionError
            If something acknowledged is not there, or something is there by halves.
        """
        folder, out = self.root / f"{kind}.vivim", self.root / "out"
        with Session.open(folder, read_only=True) as session:
            before = states(session)
        said = victim(kind, folder, out, self.root, rng)
        if kind == "export":
            Session.open(folder).close()
            assert not swept(folder), f"left in the making: {swept(folder)}"
            return check_exports(said, out)
        done = check_session(before, [line for line in said if line[0] in ("try", "done")], folder)
        return done + (check_models(said, self.root) if kind == "finetune" else 0)


def run(rounds: int, kinds: list[str], seed: int, report: Callable[[str], None]) -> dict[str, object]:
    """Kill `rounds` times, the kinds of work in turn."""
    rng, acknowledged, killed, failures = random.Random(seed), Counter(), Counter(), []
    with tempfile.TemporaryDirectory(prefix="vivim-kill") as name:
        stage = Stage(Path(name))
        for number in range(rounds):
            kind = kinds[number % len(kinds)]
            try:
                done = stage.round(kind, rng)
            except AssertionError as error:
                failures.append(f"round {number}, {kind}: {error}")
                report(f"round {number + 1:3} {kind:9} FAILED: {error}")
                stage = Stage(Path(tempfile.mkdtemp(dir=name)))
                continue
            acknowledged[kind] += done
            killed[kind] += 1
            report(f"round {number + 1:3} {kind:9} {done:5} acknowledged, all there")
    return {
        "rounds": rounds, "survived": dict(killed), "acknowledged": dict(acknowledged), "failures": failures,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=LONGEST, default=list(LONGEST))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result = run(args.rounds, args.kinds, args.seed, lambda line: print(line, flush=True))
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
