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
import sys
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
    for entry in sorted(entries, key=os.path.isdir):  # files first
        flush_one(entry)


def flush_one(path: str | Path) -> None:
    """Write one file through to the disk, or the names of what is in one folder.

    Raises
    ------
    OSError
        If it is not there, or the disk cannot take it.
    """
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows keeps no folder open, and needs none
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        flush_open(descriptor)
    finally:
        os.close(descriptor)


def flush_open(descriptor: int) -> None:
    """Write an open file through to the disk, also out of the memory that the disk itself has."""
    if sys.platform == "darwin":  # there fsync stops at the disk's own memory
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:  # a file system that does not know it, as on a share
            pass
    os.fsync(descriptor)


def put_in_place(part: Path, final: Path) -> None:
    """Rename a file to what it is to be, so that a power cut at any moment leaves the old one or the new one, whole.

    Raises
    ------
    OSError
        If the disk cannot take it.
    """
    flush_one(part)
    os.replace(part, final)
    flush_one(final.parent)


def _lives(process: int) -> bool:
    import psutil

    return process == os.getpid() or psutil.pid_exists(process)


def _machine() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
