"""The ledger: an append-only file that says of every frame who wrote it, when, and what it counts as.

One JSON object a line. What is damaged is passed over and told; every other line holds. A damaged end is kept in a
file beside the ledger when that is next opened for writing. `FrameTable` holds what every frame counts as now.
"""

import calendar
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.utils.atomic_files import atomic_write, flush_one, flush_open

LEDGER = "ledger.jsonl"
STATUS_NAMES = ("empty", "proposed", "corrected", "accepted")
STATUS_CODES = {name: code for code, name in enumerate(STATUS_NAMES)}
PERSON, MODEL = "person", "model"
PERSONS = ("corrected", "accepted")
"""Statuses of frames that models leave alone."""
LINE_BYTES = 2**16
"""A file with a longer line is no ledger."""
MOST_DAMAGE = 2**24
"""More damaged bytes than that are no ledger."""
NO_ENTRY = (ValueError, TypeError, RecursionError, OverflowError)
"""Errors that `from_line` raises for a line that holds no entry."""
_FRAME = re.compile(rb'"frame":(\d{1,8})[,}]')
Line = TypeVar("Line")
"""What a line holds: a dataclass."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: frame, what it counts as from then on, who wrote it (a person, or a model's version), when (UTC).

    `mask` is the digest of the frame's pixels, where the line knows it: BLAKE2b of 16 bytes, hexadecimal.
    `uncertainty` is how unsure the model was, in bits, and `windows` what of that came from windows that disagree;
    see `vivim.inference.uncertainty`.
    """

    frame: int
    status: str
    author: str
    kind: str
    time: str
    uncertainty: float | None = None
    mask: str | None = None
    windows: float | None = None


def digest(pixels: NDArray[np.uint8]) -> str:
    """What the ledger calls a mask: BLAKE2b of its pixels, 16 bytes, hexadecimal."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def seconds_of(text: str) -> float:
    """A time as `now` writes it in seconds since 1970, 0 for any other text."""
    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return 0.0


def ranges_of(frames: list[int]) -> list[tuple[int, int]]:
    """Sorted frames as ranges: the first and the last frame of each."""
    found: list[tuple[int, int]] = []
    for t in frames:
        first = found.pop()[0] if found and found[-1][1] == t - 1 else t
        found.append((first, t))
    return found


def to_line(entry: Any) -> bytes:
    """An entry, or another dataclass, as a line. Fields that are None are left out, so the first may not be."""
    values = {k: v for k, v in asdict(entry).items() if v is not None}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Entry:
    """Read the entry of a line. Raises one of `NO_ENTRY` if it holds none."""
    values: dict[str, Any] = json.loads(line)
    entry = Entry(**values)
    if not (
        type(entry.frame) is int
        and entry.status in STATUS_CODES
        and entry.kind in (PERSON, MODEL)
        and isinstance(entry.author, str)
        and isinstance(entry.time, str)
        and isinstance(entry.uncertainty, float | int | None)
        and isinstance(entry.mask, str | None)
        and isinstance(entry.windows, float | int | None)
    ):
        raise ValueError("not an entry")
    return Entry(
        entry.frame,
        sys.intern(entry.status),
        sys.intern(entry.author),
        sys.intern(entry.kind),
        entry.time,
        None if entry.uncertainty is None else float(entry.uncertainty),
        entry.mask,
        None if entry.windows is None else float(entry.windows),
    )


def write_whole(file: FileIO, data: bytes) -> None:
    """Write to a file without a buffer. Raises an `OSError` where the disk takes only part of it."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line, or a piece of one, that holds no entry: its number, its first byte, the frames that it still names."""

    number: int
    start: int
    frames: tuple[int, ...]


class LineFile(Generic[Line]):
    """A file that only grows, line by line: `read` it once, then `open` it to append.

    `from_line` reads what a line holds, or raises one of `NO_ENTRY`. `first` is the first field of that.

    Reading and opening raise a `SessionError` if the file cannot be used. Everything else raises an `OSError`
    if it cannot be written; the file is then as it was, and it need not be there before.

    `end`: bytes up to the end of the last whole line, as far as `read` has come. `damage`: what `read` passed
    over, as far as it is still in the file. `kept_in`: where `open` or `mend` has put what is damaged.
    """

    def __init__(self, path: Path, from_line: Callable[[bytes], Line], first: str) -> None:
        self._path, self._from_line = path, from_line
        self._beginning = f'{{"{first}":'.encode()
        self._file: FileIO | None = None
        self.end = 0
        self.damage: list[DamagedLine] = []
        self.kept_in: Path | None = None

    def size(self) -> int:
        """Bytes of the file as it is now, 0 if there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def read(self, on_damage: Callable[[DamagedLine], None] = lambda line: None) -> Iterator[Line]:
        """Read all whole lines, oldest first. `on_damage` gets each damaged one in its turn."""
        self.end, self.damage, at, damaged = 0, [], 0, 0
        try:
            if not self._path.exists():
                return
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
                    at += len(line)
                    entry, damage = self._found_in(line)
                    if damage:
                        damaged += len(line)
                        if damaged > MOST_DAMAGE:
                            raise SessionError(
                                f"Line {self.damage[0].number} of {self._path} is damaged. Restore the file from a "
                                "backup, or delete that line in a text editor; the masks are not touched."
                            )
                        named = dict.fromkeys(map(int, _FRAME.findall(damage)))
                        self.damage.append(DamagedLine(number, at - len(line), tuple(named)))
                        on_damage(self.damage[-1])
                    if entry is not None:
                        self.end = at
                        yield entry
        except OSError as error:
            raise self._unusable(error) from error

    def open(self) -> None:
        """Open for appending, behind the last whole line that `read` found. A damaged end is kept in a file beside."""
        try:
            self._file = self._path.open("ab", buffering=0)
            if os.fstat(self._file.fileno()).st_size > self.end:
                self.kept_in = self._copy_from(self.end)
                self._file.truncate(self.end)
                self.damage = [line for line in self.damage if line.start < self.end]
            flush_open(self._file.fileno())
            flush_one(self._path.parent)  # a new ledger, and the note that says who has the session open
        except OSError as error:
            raise self._unusable(error) from error

    def mend(self) -> None:
        """Keep the file as it is beside, and go on with its whole lines alone."""
        self._opened()
        kept = self._copy_from(0)
        with atomic_write(self._path) as part, part.open("wb") as file:
            for entry in self:
                file.write(to_line(entry))
        self.close()
        self._file = self._path.open("ab", buffering=0)
        self.end, self.damage, self.kept_in = os.fstat(self._file.fileno()).st_size, [], kept

    def _copy_from(self, start: int) -> Path:
        """Copy all from byte `start` on into a new file beside."""
        names = (f"{self._path.stem}.damaged-{number}" for number in count(1))
        kept = next(path for path in map(self._path.with_name, names) if not path.exists())
        with atomic_write(kept) as part, self._path.open("rb") as source, part.open("xb") as target:
            source.seek(start)
            shutil.copyfileobj(source, target)
        return kept

    def __iter__(self) -> Iterator[Line]:
        """Read every entry up to now. What is damaged is passed over."""
        left = self.end
        if left:
            with self._path.open("rb") as file:
                while left > 0 and (line := file.readline(LINE_BYTES)):
                    left -= len(line)
                    entry, _ = self._found_in(line)
                    if entry is not None:
                        yield entry

    def append(self, entry: Line, sync: bool = False) -> None:
        """Add a line and hand it to the operating system, so that it outlives this process.

        With `sync`, also wait until the disk has it, so that it outlives a power cut. What a failed write left behind
        is cut off, at the latest by the next one.
        """
        file, line = self._opened(), to_line(entry)
        try:
            if os.fstat(file.fileno()).st_size != self.end:
                file.truncate(self.end)
            write_whole(file, line)
            if sync:
                flush_open(file.fileno())
        except OSError:
            with suppress(OSError):  # the next append tries again
                file.truncate(self.end)
            raise
        self.end += len(line)

    def flush(self) -> None:
        """Wait until the disk has every line."""
        flush_open(self._opened().fileno())

    def check_in_place(self) -> None:
        """Raise a `FileNotFoundError` if the file is no longer where it was opened: what is added would be lost."""
        opened = os.fstat(self._opened().fileno())
        if not self._path.exists() or not os.path.samestat(os.stat(self._path), opened):
            raise FileNotFoundError(errno.ENOENT, "the folder has been moved, removed or replaced")

    def _opened(self) -> FileIO:
        if self._file is None:
            raise SessionError("This session is closed or open for reading only. Open it again to go on.")
        return self._file

    def close(self) -> None:
        """Wait until the disk has everything and close. Safe to call twice."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                flush_open(file.fileno())
            finally:
                file.close()

    def _found_in(self, line: bytes) -> tuple[Line | None, bytes]:
        """The entry that a line holds, or ends with, and what of the line is damaged."""
        if line.endswith(b"\n"):  # else it is cut short
            for start in (0, max(0, line.rfind(self._beginning))):
                try:
                    return self._from_line(line[start:]), line[:start]
                except NO_ENTRY:
                    continue
        return None, line

    def _unusable(self, error: OSError) -> SessionError:
        return SessionError(
            f"Cannot open {self._path}: {error.strerror or error}. Check that you may write there, or open the "
            "session for reading only."
        )


class Ledger(LineFile[Entry]):
    """The ledger of one session."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, from_line, "frame")


class FrameTable:
    """Status, uncertainty and the last line of the ledger of each frame.

    `codes`: ``(T,)`` uint8, see `STATUS_CODES`. `uncertainty`: ``(T,)`` float32, what the model that proposed
    last said; NaN where there is nothing. `disagreement`: ``(T,)`` float32, what of it comes from windows
    that disagree; NaN also where that was not written down. `damaged`: what is wrong with frames, see
    `vivim.session.damage_check`. Such frames count as a person's. `latest`: the last line of each kind.
    """

    def __init__(self, count: int) -> None:
        self.codes: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.uncertainty: NDArray[np.float32] = np.full(count, np.nan, np.float32)
        self.disagreement = self.uncertainty.copy()
        self.damaged: dict[int, str] = {}
        self._last: dict[int, Entry] = {}
        self._accepted: dict[int, Entry] = {}
        self.latest: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def apply(self, entry: Entry) -> None:
        """Take a line of the ledger for true from now on."""
        t, last = entry.frame, self._last.get(entry.frame)
        if entry.status != "accepted":
            self._accepted.pop(t, None)
        elif last is not None and last.status == "proposed":
            self._accepted[t] = last
        self.codes[t] = STATUS_CODES[entry.status]
        if entry.status == "empty":
            self.uncertainty[t] = self.disagreement[t] = np.nan
        elif entry.kind == MODEL:
            self.uncertainty[t] = np.nan if entry.uncertainty is None else entry.uncertainty
            self.disagreement[t] = np.nan if entry.windows is None else entry.windows
        self._last[t] = self.latest[entry.kind] = entry
        self.damaged.pop(t, None)

    def mark_damaged(self, t: int, problem: str) -> None:
        """Count a frame as a person's until a line of the ledger says something else."""
        self.damaged[t] = problem
        if self.status(t) not in PERSONS:
            self.codes[t] = STATUS_CODES["corrected"]

    def mark_whole(self, t: int) -> None:
        """Count a frame that was damaged as what the ledger says."""
        if self.damaged.pop(t, None) is not None:
            self.codes[t] = STATUS_CODES[self._last[t].status if t in self._last else "empty"]

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        codes = [STATUS_CODES[status] for status in statuses]
        return np.flatnonzero(np.isin(self.codes, codes)).tolist()

    def status(self, t: int) -> str:
        """One of `STATUS_NAMES`."""
        return STATUS_NAMES[self.codes[t]]

    def last(self, t: int) -> Entry | None:
        """The last line about a frame, None if there is none."""
        return self._last.get(t)

    def proposal(self, t: int) -> Entry | None:
        """The line by which a model proposed what a frame shows now, accepted or not. None if it shows none."""
        return self._last[t] if self.status(t) == "proposed" else self._accepted.get(t)

    def state(self, t: int, author: str) -> Entry:
        """A line that says of a frame, now, what it counts as already. `author` speaks where nobody has."""
        if t in self.damaged:
            return Entry(t, self.status(t), author, PERSON, now())
        last = self._last.get(t) or Entry(t, "empty", author, PERSON, "")
        return replace(last, time=now())
