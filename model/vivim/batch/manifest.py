"""``manifest.jsonl`` in the output folder: one line for every video that was done or failed. The last one counts.

A line says which video by a digest of its content, which model by its version, and the options; it names no file or
person beyond the video's folder in the output. It is appended whole and written through to the disk after all that it
speaks of. A line that is damaged, or of a newer version, is passed over and told: what it spoke of is done again.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from vivim.batch.jobs import DONE, FAILED, Job, Outcome
from vivim.errors import BatchError
from vivim.utils.atomic_files import free_path
from vivim.utils.json_types import fits, fits_fields

NAME = "manifest.jsonl"
SCHEMA = 1
LOCK_SECONDS = 60.0
LINE_BYTES = 2**20
"""A longer line is none of ours."""
Scalar = str | bool | float | None
_log = logging.getLogger(__name__)


class Manifest:
    """The manifest of one output folder. Several programs may append to it at a time."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME

    def read(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The latest line of every task and video, by both. The log is told of lines that are passed over.

        A manifest that cannot be read is renamed. One that cannot be added to, or is of a newer version, is an error.
        """
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        if not os.path.lexists(self.path):
            return latest
        damaged, newer = [], 0
        try:
            if self.path.exists() and not self.path.is_file():
                raise OSError("it is no file")
            with self.path.open("rb") as file:
                for number, line in enumerate(_lines(file), start=1):
                    record = _parsed(line)
                    if record is not None:
                        latest[record["task"], record["stem"]] = record
                    elif line.strip():
                        damaged.append(number)
                        newer += _is_newer(line)
        except OSError as error:
            self._rename_damaged(error)
            return {}
        if not os.access(self.path, os.W_OK):
            raise BatchError(
                f"Nothing can be added to {self.path}. Make it writable, or choose another output folder."
            )
        if newer and not latest:
            raise BatchError(
                f"{self.path} was written by a newer version of this program. Update napari-vivim, or choose another "
                "output folder."
            )
        if damaged:
            _log.warning(
                "%s: %s passed over, damaged or of a newer version (the first is line %d). What is missing in it is "
                "done again.",
                self.path,
                "1 line is" if len(damaged) == 1 else f"{len(damaged)} lines are",
                damaged[0],
            )
        return latest

    def _rename_damaged(self, error: OSError) -> None:
        place = free_path(lambda number: self.path.with_name(f"{NAME}.damaged-{number}"))
        try:
            os.rename(self.path, place)
        except OSError:
            raise BatchError(
                f"{self.path} cannot be read: {error.strerror or error}. Move it away, or choose another output folder."
            ) from error
        _log.warning(
            "%s cannot be read (%s). It is moved to %s, and every video is done again.",
            self.path,
            error.strerror or error,
            place.name,
        )

    def append(self, record: dict[str, Any]) -> None:
        """Add a line. It is on the disk when this returns."""
        text = json.dumps(record, allow_nan=False) + "\n"  # in ASCII: names of files may be no UTF-8
        try:
            with FileLock(self.path.with_name(f".{NAME}.lock"), timeout=LOCK_SECONDS):
                self._write(text.encode())
        except Timeout as error:
            raise BatchError(f"Another program keeps {self.path} locked. End it, then try again.") from error
        except OSError as error:
            raise BatchError(
                f"Cannot write {self.path}: {error.strerror or error}. Free some space there or check that you may "
                "write, then run the same command again: it goes on with what is missing."
            ) from error

    def _write(self, line: bytes) -> None:
        with self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line  # a power cut has left half a line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def record_of(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What the manifest says of a job that is done or failed."""
    values = {key: value for key, value in asdict(outcome).items() if key != "identity"}
    return {
        "schema": SCHEMA,
        "task": job.options.task,
        **values,
        "video": outcome.identity,
        "options": job.options.decisive(),
        "reason": nameless(outcome.reason, job),
        "note": nameless(outcome.note, job),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def outcome_of(record: dict[str, Any], status: str) -> Outcome:
    """A line of the manifest as an outcome."""
    known = Outcome.__dataclass_fields__
    values = {key: value for key, value in record.items() if key in known}
    return Outcome(**{**values, "status": status, "identity": record["video"]})


def nameless(reason: str, job: Job) -> str:
    """A reason in which the video is called by its folder in the output, and no other place is named."""
    path = Path(job.path)
    places = {str(path), str(path.absolute()), str(path.resolve()), path.name}
    folders = {str(Path(job.out)), str(Path(job.out).resolve()), str(path.absolute().parent)}
    for place in sorted(places, key=len, reverse=True):
        reason = reason.replace(place, job.stem)
    for folder in sorted(folders - {".", os.sep}, key=len, reverse=True):
        reason = reason.replace(folder, "...")
    return reason


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a file. The beginning alone of those that are too long to be ours."""
    while line := file.readline(LINE_BYTES):
        yield line
        while not line.endswith(b"\n") and len(line) == LINE_BYTES:
            line = file.readline(LINE_BYTES)


def _loaded(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and {"task", "stem", "status", "video", "options"} <= set(record)
    return record if known else None


def _is_newer(line: bytes) -> bool:
    record = _loaded(line)
    return record is not None and type(record.get("schema")) is int and record["schema"] > SCHEMA


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line with all that `outcome_of` takes, None if it is damaged or of another version."""
    record = _loaded(line)
    if record is None:
        return None
    schema = record.get("schema")
    if type(schema) is not int or not 1 <= schema <= SCHEMA or record["status"] not in (DONE, FAILED):
        return None
    # what an older version did not say has its default
    defaults = asdict(Outcome("", ""))
    record = {**defaults, **record}
    whole = (
        fits_fields({name: record[name] for name in defaults}, Outcome)
        and fits([record["task"], record["video"]], list[str])
        and fits(record["options"], dict[str, Scalar | list[Scalar]])
    )
    return record if whole else None
