"""Write files and folders so that they appear whole or not at all, also through a power cut.

`atomic_write` writes a temporary file beside the final place and renames it. The temporary name holds the machine and
the process that it belongs to. `sweep` removes the temporary files of processes of this machine that have ended, and
those of an earlier boot of this machine once they are old. It touches nothing else, because machines that share a disk
may have equal names, and may even be copies of one another.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from vivim.errors import VivimError

PART, OLD = ".part", ".old"
_NAME = re.compile(
    r"(?P<kind>\.part|\.old|vivim-[a-z]+)-(?P<machine>[0-9a-f]{8})(?P<run>[0-9a-f]{8})-(?P<process>\d{1,10})-"
    r"(?P<start>\d{1,12})-(?P<name>.+)",
    re.S,
)
_CUT = re.compile("~[0-9a-f]{12}")
"""Replaces the middle of a name that was too long."""
NAME_BYTES = 255
"""No file system in use takes longer names."""
OLD_SECONDS = 7 * 86400.0
"""Temporary files of an earlier boot of this machine are abandoned when they are older than this."""
_START_SECONDS = 2
"""Two readings of the start time of one process may differ by this much."""


def own_name(kind: str, name: str = "") -> str:
    """Temporary name that marks a file as this process's, cut in its middle where it would be too long.

    `kind` is `PART`, `OLD` or ``"vivim-<what>"``, `name` the final name.
    """
    owner = f"{kind}-{_machine()}{_run()}-{os.getpid()}-{_start(os.getpid())}-"
    return owner + shortened(name, NAME_BYTES - len(owner))


def part_of(final: Path) -> Path:
    """Path of a new temporary file for `final`: beside it, with the same suffix."""
    return final.with_name(own_name(PART, f"{secrets.token_hex(4)}-{final.name}"))


@contextmanager
def atomic_write(final: str | Path) -> Iterator[Path]:
    """Write a file or folder that appears whole, on the disk, when the block ends.

    The block makes it at the temporary path that it is given, beside `final` and with the same suffix. Whatever the
    block raises, `final` is then as it was, and nothing temporary is left.
    """
    final = Path(final)
    part = part_of(final)
    try:
        yield part
        if part.is_dir():
            flush(part)
        put_in_place(part, final)
    finally:
        remove(part)


@contextmanager
def locked(path: Path, seconds: float, failed: type[VivimError], what: str) -> Iterator[None]:
    """Hold a lock file, so that no other process writes `what` at that time.

    Another process is waited for so many `seconds`. After that, and for an `OSError` of the block, `failed` is raised.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=seconds):
            yield
    except Timeout as error:
        raise failed(f"Another program is writing {what}. Try again.") from error
    except OSError as error:
        raise failed(f"Cannot write {what}: {error.strerror or error}.") from error


def free_path(named: Callable[[int], Path]) -> Path:
    """The first of ``named(1)``, ``named(2)`` ... that is not there, not even as a link that leads nowhere."""
    return next(path for path in map(named, count(1)) if not os.path.lexists(path))


def shortened(name: str, most: int = NAME_BYTES) -> str:
    """Shorten a name to `most` bytes: a digest of the whole name replaces its middle."""
    raw = os.fsencode(name)
    if len(raw) <= most:
        return name
    digest = "~" + hashlib.blake2b(raw, digest_size=6).hexdigest()
    ends = ["".join(Path(name).suffixes[-count:]) for count in (2, 1)]  # as of .nii.gz
    end = next((end for end in ends if len(os.fsencode(end)) <= most // 4), "")
    room = most - len(digest) - len(os.fsencode(end))
    return raw[:room].decode(errors="ignore") + digest + end


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files that ended processes of this machine left in a folder, and return them.

    A folder that was renamed to make place for a new one gets its name back if the new one never came.
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
            continue  # its own name is no longer known, so it stays
        else:
            os.rename(path, path.with_name(match["name"]))
        swept.append(path)
    return swept


def _left_behind(path: Path, match: re.Match[str]) -> bool:
    """Whether a temporary file certainly belongs to a process that has ended."""
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
    """Flush a file, or all files of a folder, to the disk. Raises `OSError` if the disk cannot take them."""
    entries = [path, *path.rglob("*")] if path.is_dir() else [path]
    for entry in sorted(entries, key=os.path.isdir):  # files first
        flush_one(entry)


def flush_one(path: str | Path) -> None:
    """Flush one file, or the entries of one folder, to the disk."""
    if os.name == "nt" and os.path.isdir(path):
        return  # Windows keeps no folder open, and needs none
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        flush_open(descriptor)
    finally:
        os.close(descriptor)


def flush_open(descriptor: int) -> None:
    """Flush an open file to the disk, including the cache of the disk itself."""
    if sys.platform == "darwin":  # there fsync stops at the disk's own memory
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
        except OSError:  # a file system that does not know it, as on a share
            pass
    os.fsync(descriptor)


def put_in_place(part: Path, final: Path) -> None:
    """Rename a file, or a folder that was flushed, to its final name. A power cut leaves the old one or the new one.

    A folder cannot replace another at once: the old one is renamed until the new one stands, see `sweep`.
    """
    if not part.is_dir():
        flush_one(part)
    if not (part.is_dir() and final.is_dir()):
        os.replace(part, final)
    else:
        old = final.with_name(own_name(OLD, final.name))
        os.rename(final, old)
        try:
            os.rename(part, final)
        except OSError:
            os.rename(old, final)
            raise
        remove(old)
    flush_one(final.parent)


def _lives(process: int, start: int) -> bool:
    """Whether a process of this number and start time is alive."""
    import psutil

    try:
        return abs(_start(process) - start) <= _START_SECONDS
    except psutil.AccessDenied:
        return True  # it is there, and more is not to be known
    except psutil.NoSuchProcess:
        return False


def _start(process: int) -> int:
    """Start time of a process, independent of changes of the clock."""
    import psutil

    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(fields.rpartition(")")[2].split()[19])  # ticks since the machine was started
    except OSError:  # no such process, or no Linux
        return int(psutil.Process(process).create_time())


def _machine() -> str:
    """Digest of this machine's name and installation."""
    return _digest(socket.gethostname(), _text("/etc/machine-id"))


def _run() -> str:
    """Digest of this boot and this container, within which process numbers are unique."""
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
