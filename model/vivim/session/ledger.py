"""The ledger: an append-only file that says of every frame who wrote it, when, and what it counts as.

One JSON object a line. A line that a crash cut short is dropped when the file is next opened for writing; every
line before it holds.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from vivim.errors import SessionError
from vivim.leavings import flush_one, flush_open

STATUS_NAMES = ("empty", "proposed", "corrected", "accepted")
STATUS_CODES = {name: code for code, name in enumerate(STATUS_NAMES)}
PERSON, MODEL = "person", "model"
LINE_BYTES = 2**16
"""No line is longer; what is, is no ledger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: frame, what it counts as from then on, who wrote it (a person, or a model's version), when (UTC).

    `mask` is the digest of the frame's pixels, where the line knows it: BLAKE2b of 16 bytes, hexadecimal. `uncertainty`
    is how unsure the model was, in bits, and `windows` what of that came from windows that disagree; see `vivim.doubt`.
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


class Ledger:
    """The ledger of one session: `read` it once, then `open` it to append.

    Parameters
    ----------
    path : Path
        The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._end = 0

    def read(self) -> Iterator[Entry]:
        """All whole lines, oldest first.

        Raises
        ------
        SessionError
            If it cannot be read, or a line other than the last is damaged.
        """
        self._end = 0
        try:
            if not self._path.exists():
                return
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
                    try:
                        if not line.endswith(b"\n"):
                            raise ValueError("cut short")
                        entry = from_line(line)
                    except (ValueError, TypeError, RecursionError, OverflowError) as error:
                        if len(line) < LINE_BYTES and not file.read(1):
                            return  # the last one: a crash cut it short
                        raise self._damaged(number) from error
                    self._end += len(line)
                    yield entry
        except OSError as error:
            raise self._unusable(error) from error

    def open(self) -> None:
        """Open for appending, behind the last whole line that `read` found.

        Raises
        ------
        SessionError
            If it cannot be opened.
        """
        try:
            self._file = self._path.open("ab", buffering=0)
            self._file.truncate(self._end)
            flush_open(self._file.fileno())
            flush_one(self._path.parent)  # a new ledger, and the note that says who has the session open
        except OSError as error:
            raise self._unusable(error) from error

    def __iter__(self) -> Iterator[Entry]:
        """Every entry up to now, read from disk."""
        left = self._end
        if left:
            with self._path.open("rb") as file:
                while left > 0:
                    line = file.readline(LINE_BYTES)
                    left -= len(line)
                    yield from_line(line)

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
