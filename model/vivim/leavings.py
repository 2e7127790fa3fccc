"""Files in the making: named so that what a killed program left can be told from what another is writing just now.

The name says which machine and process it belongs to. What belongs to a process of this machine that is no more is
removed by whoever writes there next; nothing else is touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from pathlib import Path

PART, OLD = ".part", ".old"
_NAME = re.compile(
    r"(?P<kind>\.part|\.old|vivim-[a-z]+)-(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,10})-(?P<name>.+)", re.S
)


def own_name(kind: str, name: str = "") -> str:
    """A name that says that something is this process's: `PART`, `OLD` or ``"vivim-<what>"``, and what it becomes."""
    return f"{kind}-{_machine()}-{os.getpid()}-{name}"


def part_of(final: Path) -> Path:
    """Where to write what is to become `final`: beside it, with the same ending."""
    return final.with_name(own_name(PART, final.name))


def sweep(folder: Path) -> list[Path]:
    """Remove from a folder what dead processes of this machine left in the making.

    What one had put aside to put something new in its place goes back, if the new never came.

    Returns
    -------
    list of Path
        What was removed or put back.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    swept = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is None or match["machine"] != _machine() or _lives(int(match["process"])):
            continue
        if hasattr(os, "getuid") and path.lstat().st_uid != os.getuid():
            continue  # another person's, in a folder that many share
        final = path.with_name(match["name"])
        if match["kind"] == OLD and not final.exists():
            os.rename(path, final)
        else:
            remove(path)
        swept.append(path)
    return swept


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Write a file, or all files of a folder, through to the disk, so that a power cut leaves them whole.

    Raises
    ------
    OSError
        If the disk cannot take them.
    """
    entries = [path, *path.rglob("*")] if path.is_dir() else [path]
    for entry in entries:
        if not entry.is_dir():
            _flush_one(entry)
    for entry in entries:
        if os.name != "nt" and entry.is_dir():  # Windows keeps no folder open, and needs none
            _flush_one(entry)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lives(process: int) -> bool:
    import psutil

    return process == os.getpid() or psutil.pid_exists(process)


def _machine() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
