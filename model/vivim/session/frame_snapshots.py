"""States of frames kept in files: the ledger's line of what a frame counted as, then its pixels, packed.

``undo`` holds the steps that can be taken back, ``proposals`` what models proposed for frames that persons changed.
"""

import logging
import os
import re
import secrets
import zlib
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vivim.session.ledger import LINE_BYTES, NO_ENTRY, Entry, digest, from_line, to_line, write_whole

State = tuple[Entry, NDArray[np.uint8] | None]
"""What a frame counted as, and its mask ``(H, W)``. None where only its status is kept."""

PROPOSALS = "proposals"
STEPS_KEPT = 200
UNDO, REDO = "undo", "redo"
_STEP_NAME = re.compile(r"(\d{1,12})\.(undo|redo)")
_LENGTH_BYTES = 16
_log = logging.getLogger(__name__)


def pack(entry: Entry, pixels: NDArray[np.uint8] | None) -> bytes:
    """A state as bytes. `entry` holds the digest of the pixels."""
    packed = b"" if pixels is None else zlib.compress(np.ascontiguousarray(pixels).data, 1)
    return to_line(entry) + b"%d\n" % len(packed) + packed


def entries(path: Path, most: int | None = None) -> list[Entry]:
    """Read the lines of the first `most` states of a file, if there is one, without unpacking any mask."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        found: list[Entry] = []
        while len(found) != most and (header := _header(file)) is not None:
            file.seek(header[1], os.SEEK_CUR)
            found.append(header[0])
        return found


def states(path: Path, size: tuple[int, int]) -> Generator[State, None, None]:
    """Read the states of a file, as far as they are whole.

    One whose pixels are damaged is left out. `size` is height and width of a mask. Nothing is found where there is no
    file.
    """
    if not path.is_file():
        return
    count = size[0] * size[1]
    with path.open("rb") as file:
        while (header := _header(file)) is not None:
            entry, length = header
            if length > 2 * count + LINE_BYTES:
                return
            packed = file.read(length)
            if len(packed) < length:
                return  # a crash cut it short
            if not length:
                yield entry, None
                continue
            with suppress(zlib.error):
                raw = zlib.decompressobj().decompress(packed, count)
                pixels = np.frombuffer(raw, np.uint8)
                if len(raw) == count and digest(pixels) == entry.mask:
                    yield entry, pixels.reshape(size)


def _header(file: BinaryIO) -> tuple[Entry, int] | None:
    """The line of the next state, and how many bytes its pixels take. None where there is none that is whole."""
    try:
        entry = from_line(file.readline(LINE_BYTES))
        length = int(file.readline(_LENGTH_BYTES))
    except NO_ENTRY:
        return None
    return (entry, length) if length >= 0 else None


class _Snapshots:
    """A folder of states, made when the first is kept.

    `size` is height and width of a mask; `changed` gets every file that was written or removed.
    """

    def __init__(self, folder: Path, size: tuple[int, int], changed: Callable[[Path], None]) -> None:
        self._folder, self._size, self._changed = folder, size, changed


class Proposals(_Snapshots):
    """What models proposed for the frames that persons changed since, one file a frame."""

    def keep(self, entry: Entry, pixels: NDArray[np.uint8]) -> None:
        """Keep a frame's proposal, instead of an earlier one."""
        self._folder.mkdir(exist_ok=True)
        path, part = self._folder / f"{entry.frame}.mask", self._folder / f".{entry.frame}.part"
        if path.is_dir():  # it must not keep anybody from drawing
            os.rename(path, self._folder / f"damaged-{entry.frame}-{secrets.token_hex(4)}")
        try:
            part.write_bytes(pack(entry, pixels))
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._changed(path)

    def of(self, t: int) -> State | None:
        """A frame's proposal. None if none is kept, or it is damaged."""
        kept = next(states(self._folder / f"{t}.mask", self._size), None)
        return kept if kept is not None and kept[0].frame == t else None


class UndoSteps(_Snapshots):
    """The steps of a session, the oldest first, by the names of their files: ``NUMBER.undo`` or ``NUMBER.redo``."""

    def __init__(self, folder: Path, size: tuple[int, int], changed: Callable[[Path], None]) -> None:
        super().__init__(folder, size, changed)
        self._steps: list[str] = []
        self._taken = 0

    def load(self) -> None:
        """Look what is there. A step that a power cut left empty is none, and one that is no file is logged."""
        self._steps, self._taken = [], 0
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if _STEP_NAME.fullmatch(path.name) is None:
                continue
            self._taken = max(self._taken, _number(path.name))
            if not path.is_file():
                _log.warning("%s is no file, and is no step to take back. Delete it.", path)
            elif entries(path, 1):
                self._steps.append(path.name)
        self._steps.sort(key=_number)

    def __contains__(self, step: str | None) -> bool:
        return step in self._steps

    def begin(self, side: str) -> str:
        """The next step on one side, `UNDO` or `REDO`. It is there once a state is added to it."""
        self._taken = max([self._taken, *map(_number, self._steps[-1:])])
        return f"{self._taken + 1:08d}.{side}"

    def add(self, step: str, entry: Entry, pixels: NDArray[np.uint8] | None) -> None:
        """Keep a frame's state as part of a step, with its mask ``(H, W)`` unless the step leaves that alone.

        The step is the latest one, or one that holds something already; after an error it is as it was.
        """
        self._folder.mkdir(exist_ok=True)
        with (self._folder / step).open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                write_whole(file, pack(entry, pixels))
            except OSError:
                file.truncate(size)
                raise
        self._changed(self._folder / step)
        if step not in self._steps:
            self._steps.append(step)

    def latest(self, side: str) -> str | None:
        """The step to take back next, or to do again."""
        return next(iter(self._on(side)[-1:]), None)

    def frames(self, step: str) -> list[int]:
        """The frames that a step changed."""
        return list(dict.fromkeys(entry.frame for entry in entries(self._folder / step)))

    def latest_of_each(self) -> dict[int, Entry]:
        """Of each frame what it was before the latest step to take back that changed it."""
        found: dict[int, Entry] = {}
        for step in self._on(UNDO):
            with suppress(OSError):  # no file: it has nothing to say, and nothing is lost with it
                found |= {entry.frame: entry for entry in reversed(entries(self._folder / step))}
        return found

    def states(self, step: str) -> Generator[State, None, None]:
        """What the frames of a step were before it, each once."""
        seen: set[int] = set()
        for entry, pixels in states(self._folder / step, self._size):
            if entry.frame not in seen:
                seen.add(entry.frame)
                yield entry, pixels

    def drop(self, step: str) -> None:
        """Forget a step."""
        (self._folder / step).unlink(missing_ok=True)
        self._changed(self._folder / step)
        self._steps.remove(step)

    def make_room(self) -> None:
        """Forget what could be done again, and the oldest of more than `STEPS_KEPT` steps: a new one begins."""
        for step in self._on(REDO) + self._on(UNDO)[: 1 - STEPS_KEPT or None]:
            self.drop(step)

    def _on(self, side: str) -> list[str]:
        return [step for step in self._steps if step.endswith(side)]


def _number(step: str) -> int:
    return int(step.partition(".")[0])
