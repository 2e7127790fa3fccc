"""Files in the making: named so that what a killed program left can be told from what another is writing just now.

The name says which machine and which process it belongs to. What belongs to a process of this machine that is no more
is removed by whoever writes there next, and so is what an earlier run of this machine left, once it is old. Nothing
else is touched: machines that share a disk may be named alike, and even be copies of one another.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import sys
import time
from pathlib import Path

PART, OLD = ".part", ".old"
_NAME = re.compile(
    r"(?P<kind>\.part|\.old|vivim-[a-z]+)-(?P<machine>[0-9a-f]{8})(?P<run>[0-9a-f]{8})-(?P<process>\d{1,10})-"
    r"(?P<start>\d{1,12})-(?P<name>.+)",
    re.S,
)
_CUT = re.compile("~[0-9a-f]{12}")
"""What stands for the middle of a name that was too long."""
NAME_BYTES = 255
"""No file system in use takes longer names."""
OLD_SECONDS = 7 * 86400.0
"""What a machine of this name was writing before it was started anew is taken for left behind when it is so old."""
_START_SECONDS = 2
"""By so much a system may say the time at which a process began differently from one look to the next."""


def own_name(kind: str, name: str = "") -> str:
    """A name that says that something is this process's: `PART`, `OLD` or ``"vivim-<what>"``, and what it becomes.

    Where that would be too long for a file system, the middle of what it becomes is left out.
    """
    owner = f"{kind}-{_machine()}{_run()}-{os.getpid()}-{_start(os.getpid())}-"
    return owner + shortened(name, NAME_BYTES - len(owner))


def part_of(final: Path) -> Path:
    """Where to write what is to become `final`: beside it, with the same ending."""
    return final.with_name(own_name(PART, final.name))


def shortened(name: str, most: int = NAME_BYTES) -> str:
    """A name of at most so many bytes: as it is, or with a digest of all of it for its middle."""
    raw = os.fsencode(name)
    if len(raw) <= most:
        return name
    digest = "~" + hashlib.blake2b(raw, digest_size=6).hexdigest()
    ends = ["".join(Path(name).suffixes[-count:]) for count in (2, 1)]  # as of .nii.gz
    end = next((end for end in ends if len(os.fsencode(end)) <= most // 4), "")
    room = most - len(digest) - len(os.fsencode(end))
    return raw[:room].decode(errors="ignore") + digest + end


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
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None or not _left_behind(path, match):
            continue
        if hasattr(os, "getuid") and path.lstat().st_uid != os.getuid():
            continue  # another person's, in a folder that many share
        most = NAME_BYTES - len(os.fsencode(path.name)) + len(os.fsencode(match["name"]))
        if match["kind"] != OLD or any(shortened(other.name, most) == match["name"] for other in paths):
            remove(path)
        elif _CUT.search(match["name"]):
            continue  # what it was called is no longer known: it stays
        else:
            os.rename(path, path.with_name(match["name"]))
        swept.append(path)
    return swept


def _left_behind(path: Path, match: re.Match[str]) -> bool:
    """Whether what is in the making belongs to a process that is no more, as far as that is certain."""
    if match["machine"] != _machine():
        return False
    if match["run"] != _run():
        return time.time() - path.lstat().st_mtime > OLD_SECONDS
    return not _lives(int(match["process"]), int(match["start"]))


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


def _lives(process: int, start: int) -> bool:
    """Whether it is still that process, and not a later one of the same number."""
    import psutil

    try:
        return abs(_start(process) - start) <= _START_SECONDS
    except psutil.AccessDenied:
        return True  # it is there, and more is not to be known
    except psutil.NoSuchProcess:
        return False


def _start(process: int) -> int:
    """When a process began, said alike however the clock is set meanwhile."""
    import psutil

    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(fields.rpartition(")")[2].split()[19])  # ticks since the machine was started
    except OSError:  # no such process, or no Linux
        return int(psutil.Process(process).create_time())


def _machine() -> str:
    """This machine under its name, as long as it is not set up anew."""
    return _digest(socket.gethostname(), _text("/etc/machine-id"))


def _run() -> str:
    """This machine from one start to the next, and of its containers this one: numbers of processes count in it."""
    import psutil

    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""  # no Linux
    return _digest(_text("/proc/sys/kernel/random/boot_id") or str(int(psutil.boot_time())), processes)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""  # another system


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=4).hexdigest()
