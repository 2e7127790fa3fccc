"""The ledger: an append-only file that says of every frame who wrote it, when, and what it counts as.

One JSON object a line. What is damaged is passed over and told; every other line holds. A damaged end is kept in a
file beside the ledger when that is next opened for writing.
"""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from vivim.errors import SessionError
from vivim.utils.atomic_files import flush_one, flush_open

STATUS_NAMES = ("empty", "proposed", "corrected", "accepted")
STATUS_CODES = {name: code for code, name in enumerate(STATUS_NAMES)}
PERSON, MODEL = "person", "model"
PERSONS = ("corrected", "accepted")
"""Statuses of frames that models leave alone."""
LINE_BYTES = 2**16
"""No line is longer; what is, is no ledger."""
MOST_DAMAGE = 2**24
"""More damaged bytes than that are no ledger."""
_FRAME = re.compile(rb'"frame":(\d{1,8})[,}]')
_BEGINNING = b'{"frame":'


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: frame, what it counts as from then on, who wrote it (a person, or a model's version), when (UTC).

    `mask` is the digest of the frame's pixels, where the line knows it: BLAKE2b of 16 bytes, hexadecimal. `uncertainty`
    is how unsure the model was, in bits, and `windows` what of that came from windows that disagree; see
    `vivim.inference.uncertainty`.
    """

    frame: int
    status: str
    author: str
    kind: str
    time: str
    uncertainty: float | None = None
    mask: str | None = None
    windows: float | None = None


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def to_line(entry: Entry) -> bytes:
    """An entry as a line of the ledger."""
    values = {k: v for k, v in asdict(entry).items() if v is not None}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Entry:
    """The entry a line holds.

    Raises
    ------
    ValueError, TypeError, RecursionError
        If it holds none.
    """
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
    """Write to a file without a buffer; an `OSError` where the disk takes only part of it."""
    if file.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line, or a piece of one, that holds no entry: its number, its first byte, the frames that it still names."""

    number: int
    start: int
    frames: tuple[int, ...]


class Ledger:
    """The ledger of one session: `read` it once, then `open` it to append.

    Parameters
    ----------
    path : Path
        The file; it need not be there.

    Attributes
    ----------
    damage : list of DamagedLine
        What `read` passed over, as far as it is still in the file.
    kept_in : Path or None
        Where `open` or `mend` has put what is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._end = 0
        self.damage: list[DamagedLine] = []
        self.kept_in: Path | None = None

    @property
    def end(self) -> int:
        """Bytes up to the end of the last whole line, as far as `read` has come."""
        return self._end

    def size(self) -> int:
        """Bytes of the file as it is now; 0 if there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def read(self, on_damage: Callable[[DamagedLine], None] | None = None) -> Iterator[Entry]:
        """All whole lines, oldest first.

        Parameters
        ----------
        on_damage : callable, optional
            Called with each damaged line, between the entries before and after it.

        Raises
        ------
        SessionError
            If it cannot be read, or is damaged beyond `MOST_DAMAGE`.
        """
        self._end, self.damage, at, damaged = 0, [], 0, 0
        try:
            if not self._path.exists():
                return
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
                    at += len(line)
                    entry: Entry | None
                    try:
                        entry, whole = from_line(line), line.endswith(b"\n")
                    except (ValueError, TypeError, RecursionError, OverflowError):
                        entry, whole = _found_in(line), False
                    if not whole:
                        entry = entry if line.endswith(b"\n") else None  # cut short
                        damaged += len(line)
                        if damaged > MOST_DAMAGE:
                            raise self._damaged(self.damage[0].number)
                        self.damage.append(DamagedLine(number, at - len(line), _frames_named(line, entry)))
                        if on_damage is not None:
                            on_damage(self.damage[-1])
                    if entry is not None:
                        self._end = at
                        yield entry
        except OSError as error:
            raise self._unusable(error) from error

    def open(self) -> None:
        """Open for appending, behind the last whole line that `read` found; a damaged end is kept in a file beside.

        Raises
        ------
        SessionError
            If it cannot be opened.
        """
        try:
            self._file = self._path.open("ab", buffering=0)
            if os.fstat(self._file.fileno()).st_size > self._end:
                self.kept_in = self._set_aside(self._end)
                self._file.truncate(self._end)
                self.damage = [line for line in self.damage if line.start < self._end]
            flush_open(self._file.fileno())
            flush_one(self._path.parent)  # a new ledger, and the note that says who has the session open
        except OSError as error:
            raise self._unusable(error) from error

    def mend(self) -> None:
        """Keep the file as it is beside, and go on with its whole lines alone.

        Raises
        ------
        OSError
            If it cannot be written; it is as it was then.
        """
        self._opened()
        kept, part = self._set_aside(0), self._path.with_name(f".{self._path.name}.part")
        try:
            with part.open("wb") as file:
                for entry in self:
                    file.write(to_line(entry))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self.close()
        self._file = self._path.open("ab", buffering=0)
        self._end, self.damage, self.kept_in = os.fstat(self._file.fileno()).st_size, [], kept

    def _set_aside(self, start: int) -> Path:
        """Copy all from byte `start` on into a new file beside."""
        names = (
            self._path.with_name(f"{self._path.stem}.damaged-{number}") for number in range(1, sys.maxsize)
        )
        kept = next(path for path in names if not path.exists())
        try:
            with self._path.open("rb") as source, kept.open("xb") as target:
                source.seek(start)
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
        except OSError:
            kept.unlink(missing_ok=True)
            raise
        return kept

    def __iter__(self) -> Iterator[Entry]:
        """Every entry up to now, read from disk; what is damaged is passed over."""
        left = self._end
        if left:
            with self._path.open("rb") as file:
                while left > 0 and (line := file.readline(LINE_BYTES)):
                    left -= len(line)
                    entry = _found_in(line)
                    if entry is not None:
                        yield entry

    def append(self, entry: Entry, sync: bool = False) -> None:
        """Add a line and hand it to the operating system, so that it outlives this process.

        Parameters
        ----------
        sync : bool
            Also wait until the disk has it, so that it outlives a power cut.

        Raises
        ------
        OSError
            If it cannot be written; what a failed write left behind is cut off, at the latest by the next one.
        """
        file, line = self._opened(), to_line(entry)
        try:
            if os.fstat(file.fileno()).st_size != self._end:
                file.truncate(self._end)
            write_whole(file, line)
            if sync:
                flush_open(file.fileno())
        except OSError:
            with suppress(OSError):  # the next append tries again
                file.truncate(self._end)
            raise
        self._end += len(line)

    def flush(self) -> None:
        """Wait until the disk has every line."""
        flush_open(self._opened().fileno())

    def check_in_place(self) -> None:
        """Raise a `FileNotFoundError` if the file is no longer where it was opened: what is added would be lost."""
        gone = FileNotFoundError(errno.ENOENT, "the folder has been moved, removed or replaced")
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            raise gone from None
        if not os.path.samestat(there, os.fstat(self._opened().fileno())):
            raise gone

    def _opened(self) -> FileIO:
        if self._file is None:
            raise SessionError("This session is closed or open for reading only. Open it again to go on.")
        return self._file

    def close(self) -> None:
        """Wait until the disk has everything and close; safe to call twice."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                flush_open(file.fileno())
            finally:
                file.close()

    def _damaged(self, number: int) -> SessionError:
        return SessionError(
            f"Line {number} of {self._path} is damaged. Restore the file from a backup, or delete that line in a "
            "text editor; the masks are not touched."
        )

    def _unusable(self, error: OSError) -> SessionError:
        return SessionError(
            f"Cannot open {self._path}: {error.strerror or error}. Check that you may write there, or open the "
            "session for reading only."
        )


def _found_in(line: bytes) -> Entry | None:
    """The entry that a line holds, or ends with behind something damaged."""
    for start in (0, max(0, line.rfind(_BEGINNING))):
        try:
            return from_line(line[start:])
        except (ValueError, TypeError, RecursionError, OverflowError):
            continue
    return None


def _frames_named(line: bytes, entry: Entry | None) -> tuple[int, ...]:
    """The frames that a damaged line names, but for the one of the entry that it ends with."""
    named = dict.fromkeys(int(number) for number in _FRAME.findall(line))
    return tuple(t for t in named if entry is None or t != entry.frame)
