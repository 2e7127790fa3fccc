"""Damage annotation files of other tools and import them: each is read or refused with a sentence."""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mutations import ANY, TEXT, Mutation
from vivim import Session
from vivim.errors import VivimError
from vivim.io.import_masks import import_masks

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "model" / "io"))
from annotation_files import FRAMES, WRITERS

ODD = ("", "nan", "-1", "0", "1e308", "99999999999999999999", "2147483648", "0.5", "x", "None", "1,2", "é")
NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def change_number(path: Path, rng: random.Random) -> None:
    """Put something odd in the place of a number, in any file that holds text."""
    data = path.read_bytes()
    head, gap, rest = data.partition(b"\n\n") if path.suffix == ".nrrd" else (data, b"", b"")
    found = list(NUMBER.finditer(head))
    if found:
        one = rng.choice(found)
        head = head[: one.start()] + rng.choice(ODD).encode() + head[one.end() :]
    path.write_bytes(head + gap + rest)


def drop_line(path: Path, rng: random.Random) -> None:
    """Take away a line, an attribute or an element."""
    data = path.read_bytes()
    parts = re.split(rb"(?<=[>\n ])", data)
    del parts[rng.randrange(len(parts))]
    path.write_bytes(b"".join(parts))


def double(path: Path, rng: random.Random) -> None:
    """Write a stretch of the file twice."""
    data = path.read_bytes()
    first = rng.randrange(len(data) + 1)
    last = rng.randrange(first, len(data) + 1)
    path.write_bytes(data[:last] + data[first:])


MUTATIONS: tuple[Mutation, ...] = (*ANY, *[change_number] * 8, *[drop_line] * 4, double, double)


def run(count: int, seed: int, kind: str, first: int = 0) -> dict[str, object]:
    """Import `count` damaged files of a kind; how many were read and refused, and what went wrong."""
    name, writer = WRITERS[kind]
    ways: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        original = writer(Path(place) / name)
        video = Path(place) / "video"
        _pictures(video)
        for number in range(first, first + count):
            rng = random.Random(f"{kind}-{seed}-{number}")
            copy = Path(place) / f"copy{number}" / name
            copy.parent.mkdir()
            (shutil.copytree if original.is_dir() else shutil.copy)(original, copy)
            files = [path for path in sorted(copy.rglob("*")) if path.is_file()] if copy.is_dir() else [copy]
            path = rng.choice([file for file in files if file.suffix != ".png"])
            mutations = (*MUTATIONS, *TEXT) if path.suffix == ".json" else MUTATIONS
            mutation: Callable[[Path, random.Random], None] = rng.choice(mutations)
            mutation(path, rng)
            how = _outcome(video, copy.parent, copy)
            ways[how if how in ("read", "refused") else "wrong"] += 1
            if how not in ("read", "refused"):
                wrong.append(f"{kind} {number}, {path.name}, {mutation.__name__}: {how}")
            shutil.rmtree(copy.parent)
    return {"read": ways["read"], "refused": ways["refused"], "wrong": wrong}


def _pictures(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for t in range(12):
        Image.new("L", (88, 72), t).save(folder / f"{t:04d}.png")


def _outcome(video: Path, folder: Path, masks: Path) -> str:
    """``"read"``, ``"refused"``, or what went wrong."""
    with Session.open(video, folder=folder / "session.vivim") as session:
        try:
            written = [event.frame for event in import_masks(session, masks) if event.written]
        except VivimError as error:
            if session.frames_with("corrected"):
                return "refused after frames were written"
            return "refused" if len(str(error).split()) > 3 else f"an error without words: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if not written:
            return "read, and nothing was written"
        empty = [t for t in written if not session.masks[t].any()]
        return f"frames {empty} came in empty" if empty else "read"


if __name__ == "__main__":
    for each in WRITERS:
        print(each, FRAMES, run(int(sys.argv[1]), 0, each))
