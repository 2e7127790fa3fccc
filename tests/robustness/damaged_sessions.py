"""Damage sessions in a thousand ways, and see whether that is told and whether a model could write over a person.

``python tests/robustness/damaged_sessions.py --count 1000``. Files are cut, zeroed, emptied, extended by zeros or taken
away: of sessions that were closed, and of those whose program was killed. Each copy is opened. *Silent* is one that
opens as if it were whole although a frame's mask or status is another; *overwritten* one in which a proposal takes the
place of a frame that a person had corrected or accepted. Prints counts, and exits with 1 if either is not zero.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vivim.errors import VivimError
from vivim.session import Session
from vivim.video import make_phantom, write_video

FRAMES, SIZE = 10, (40, 56)
WAYS = (
    "cut", "cut at a line", "zeroed", "zeroed to the end", "emptied", "zeros added", "taken away", "folder taken away",
)  # fmt: skip


@dataclass
class Original:
    """A session as it ought to be, closed or as a kill left it."""

    folder: Path
    statuses: list[str]
    masks: np.ndarray


def make_originals(root: Path) -> list[Original]:
    """Sessions of one video with frames of every status, one closed and one not."""
    phantom = make_phantom(FRAMES, size=SIZE)
    video = write_video(root / "video.mp4", phantom.frames, 20.0)
    made = []
    with Session.open(video, author="somebody") as session:
        for t in range(FRAMES - 1):
            session.propose(t, phantom.masks[t], "v1", uncertainty=0.5)
        for t in (1, 4):
            session.correct(t, phantom.masks[t - 1])
        session.accept(2)
    with Session.open(video, author="somebody") as session:
        session.correct(6, phantom.masks[0])
        session.accept(7)
        states = [session.status(t) for t in range(FRAMES)], np.asarray(session.masks[:])
        made.append(Original(Path(shutil.copytree(session.folder, root / "killed")), *states))
    made.append(Original(Path(shutil.copytree(session.folder, root / "closed")), *states))
    shutil.rmtree(session.folder)
    return made


def damage(folder: Path, rng: random.Random) -> str:
    """Do something to one file of a session; returns what was done, and to which."""
    chunk = f"masks.zarr/c/{rng.randrange(FRAMES - 1)}/0/0"
    kinds = {"ledger.jsonl": 10, chunk: 8, "closed.json": 1, "masks.zarr/zarr.json": 1, "session.json": 1}
    kinds = {name: weight for name, weight in kinds.items() if (folder / name).exists()}
    name = rng.choices(list(kinds), list(kinds.values()))[0]
    path, way = folder / name, rng.choice(WAYS)
    data = path.read_bytes()
    at = rng.randrange(len(data))
    if way == "cut":
        path.write_bytes(data[:at])
    elif way == "cut at a line":
        path.write_bytes(data[: data.rfind(b"\n", 0, at) + 1])
    elif way == "zeroed":
        stop = min(len(data), at + rng.choice((1, 16, 200, 4096)))
        path.write_bytes(data[:at] + bytes(stop - at) + data[stop:])
    elif way == "zeroed to the end":
        path.write_bytes(data[:at] + bytes(len(data) - at))
    elif way == "emptied":
        path.write_bytes(b"")
    elif way == "zeros added":
        path.write_bytes(data + bytes(rng.choice((1, 512, 4096, 70_000))))
    elif way == "taken away" or name.count("/") < 2:
        path.unlink()
    else:
        shutil.rmtree(path.parents[1])
    return f"{name if '/c/' not in name else 'a mask'}, {way}"


def outcome(folder: Path, original: Original) -> str:
    """``"refused"``, ``"told"``, ``"whole"``, ``"silent"`` or ``"overwritten"``."""
    try:
        with Session.open(folder, author="somebody") as session:
            written = [t for t in range(FRAMES) if session.propose(t, np.full(SIZE, 9, np.uint8), "v2")]
            told = bool(session.ledger_damage or session.verify())
            changed = [
                t
                for t in range(FRAMES)
                if t not in written
                and (
                    session.status(t) != original.statuses[t]
                    or not np.array_equal(session.shown(t), original.masks[t])
                )
            ]
    except VivimError:
        return "refused"
    if any(original.statuses[t] in ("corrected", "accepted") for t in written):
        return "overwritten"
    return "told" if told else "silent" if changed else "whole"


def run(count: int, seed: int, root: Path) -> tuple[Counter[str], list[str]]:
    """Damage so many copies; returns how it went, and what was done where it went wrong."""
    originals, counts, wrong = make_originals(root), Counter[str](), list[str]()
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        original = originals[number % len(originals)]
        copy = Path(shutil.copytree(original.folder, root / "video.mp4.vivim"))
        what = damage(copy, rng)
        how = outcome(copy, original)
        counts[how] += 1
        if how in ("silent", "overwritten"):
            wrong.append(f"{number} ({original.folder.name}): {what}: {how}")
        shutil.rmtree(copy)
    return counts, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vivim-damaged") as name:
        counts, wrong = run(args.count, args.seed, Path(name))
    print("\n".join(wrong), file=sys.stderr)
    print(json.dumps({"count": args.count, **counts}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
