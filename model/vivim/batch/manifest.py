"""``manifest.jsonl`` in the output folder: one line for every video that was done or failed; the last one counts.

A line says which video by a digest of its content, which model by its version, and the options; it names no file or
person beyond the video's folder in the output. It is appended whole and written through to the disk after all that it
speaks of. What a power cut cuts short is passed over.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vivim.batch.jobs import DONE, FAILED, Job, Outcome
from vivim.errors import BatchError

NAME = "manifest.jsonl"
SCHEMA = 1
LOCK_SECONDS = 60.0


class Manifest:
    """The manifest of one output folder; several programs may append to it at a time."""

    def __init__(self, out: Path) -> None:
        self.path = out / NAME

    def read(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The latest line of every task and video, by both.

        Raises
        ------
        BatchError
            If a newer version of this program wrote it.
        """
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        if not self.path.is_file():
            return latest
        with self.path.open("rb") as file:
            for line in file:
                record = _parsed(line)
                if record is not None:
                    latest[record["task"], record["stem"]] = record
        return latest

    def append(self, record: dict[str, Any]) -> None:
        """Add a line; it is on the disk when this returns.

        Raises
        ------
        BatchError
            If another program keeps it locked.
        OSError
            If it cannot be written.
        """
        text = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with FileLock(self.path.with_name(f".{NAME}.lock"), timeout=LOCK_SECONDS):
                self._write(text.encode())
        except Timeout as error:
            raise BatchError(f"Another program keeps {self.path} locked. End it, then try again.") from error

    def _write(self, line: bytes) -> None:
        with self.path.open("a+b") as file:
            if file.tell() and _last_byte(file.fileno(), file.tell()) != b"\n":
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


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # cut short by a power cut: what it spoke of is done again
    if not isinstance(record, dict) or not {"schema", "task", "stem", "status", "video"} <= set(record):
        return None
    if isinstance(record["schema"], int) and record["schema"] > SCHEMA:
        raise BatchError("The manifest was written by a newer version of this program. Update napari-vivim.")
    return record if record["status"] in (DONE, FAILED) else None
