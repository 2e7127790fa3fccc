"""The ledger: an append-only file that says of every frame who wrote it, when, and what it counts as.

One JSON object a line. A line that a crash cut short is dropped when the file is next opened for writing; every
line before it holds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from vivim.errors import SessionError

STATUS_NAMES = ("empty", "proposed", "corrected", "accepted")
STATUS_CODES = {name: code for code, name in enumerate(STATUS_NAMES)}
PERSON, MODEL = "person", "model"


@dataclass(frozen=True)
class Entry:
    """One line: frame, what it counts as from then on, who wrote it (a person, or a model's version), when (UTC)."""

    frame: int
    status: str
    author: str
    kind: str
    time: str
    uncertainty: float | None = None


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _parse(line: bytes) -> Entry:
    values = json.loads(line)
    entry = Entry(**values)
    if entry.status not in STATUS_CODES or not isinstance(entry.frame, int):
        raise ValueError("not an entry")
    return entry


class Ledger:
    """The ledger of one session.

    Parameters
    ----------
    path : Path
        The file; made if absent and `read_only` is False.
    read_only : bool
        Never write, not even to repair.
    """

    def __init__(self, path: Path, read_only: bool) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._end = 0
        try:
            self._entries = self._read()
            if not read_only:
                self._file = path.open("ab")
                self._file.truncate(self._end)
        except OSError as error:
            raise SessionError(
                f"Cannot open {path}: {error.strerror or error}. Check that you may write there, or open the session "
                "for reading only."
            ) from error

    def _read(self) -> list[Entry]:
        """All whole lines; sets where they end.

        Raises
        ------
        SessionError
            If a line other than the last cannot be read.
        """
        data = self._path.read_bytes() if self._path.exists() else b""
        entries: list[Entry] = []
        for number, line in enumerate(data.splitlines(keepends=True), start=1):
            try:
                if not line.endswith(b"\n"):
                    break  # cut short by a crash
                entries.append(_parse(line))
            except (ValueError, TypeError) as error:
                if self._end + len(line) == len(data):
                    break
                raise SessionError(
                    f"Line {number} of {self._path} is damaged. Restore the file from a backup, or move it away to "
                    "start this session's record anew; the masks are not touched."
                ) from error
            self._end += len(line)
        return entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def append(self, entry: Entry, sync: bool = False) -> None:
        """Add a line and hand it to the operating system, so that it outlives this process.

        Parameters
        ----------
        sync : bool
            Also wait until the disk has it, so that it outlives a power cut.

        Raises
        ------
        OSError
            If it cannot be written; the file is then as it was before.
        """
        if self._file is None:
            raise SessionError("This session is open for reading only.")
        values = {k: v for k, v in asdict(entry).items() if v is not None}
        line = json.dumps(values, separators=(",", ":")).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except OSError:
            self._undo_partial_write()
            raise
        self._end += len(line)
        self._entries.append(entry)

    def _undo_partial_write(self) -> None:
        """Reopen at the end of the last whole line; what a failed write left behind is cut off."""
        assert self._file is not None
        raw = self._file.raw if hasattr(self._file, "raw") else self._file
        raw.close()
        self._file = self._path.open("ab")
        self._file.truncate(self._end)

    def close(self) -> None:
        """Wait until the disk has everything and close; safe to call twice."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
