"""The right to write in a session's folder, for one program at a time, and only inside that folder."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from vivim.errors import SessionError

LOCK, HOLDER = "lock", "lock.holder"
MARKER = "lock.marker"
"""Stands for the lock on a disk that knows no locks. Names its process, so that a dead one's is taken away."""

_FILES = (LOCK, HOLDER, "session.json", "ledger.jsonl", "closed.json")
_FOLDERS = ("masks.zarr", "undo", "proposals")
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)


class FolderLock:
    """The right to write in a folder, for a ``with`` block, or until any thread releases it.

    Entering raises a `SessionError` if another program has it, the folder cannot be written, or something in
    it leads out.

    `after_crash`: whether the last one who had it ended without letting go: killed, or in a power cut.
    `clean`: whether all that was written is safe. If not, releasing it leaves the holder's note, and the next
    one who has it looks at everything, as after a crash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = folder / HOLDER
        self._let_go: Callable[[], object] | None = None
        self.after_crash, self.clean = False, True

    def __enter__(self) -> FolderLock:
        try:
            check_entries(self._folder)
            with ExitStack() as undo:
                self._let_go = _locked(self._folder)
                undo.callback(self._unlock)
                self.after_crash = self._holder.exists()
                self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
                undo.pop_all()
                return self
        except Timeout as error:
            holder, marker = "", self._folder / MARKER
            with suppress(OSError):
                holder = f" ({self._holder.read_text(errors='replace')[:200]})"
            # its process cannot be looked for where that runs on another machine
            nowhere = f" If it is open nowhere any more, delete {marker}." if marker.exists() else ""
            raise SessionError(
                f"{self._folder} is open in another window or program{holder}. Close it there first, or open "
                f"it for reading only.{nowhere}"
            ) from error
        except OSError as error:
            raise SessionError(
                f"Cannot write in {self._folder}: {error.strerror or error}. {what_to_do(error)}"
            ) from error

    def release(self) -> None:
        """Let go of it. Safe to call twice."""
        if self.clean and self._let_go is not None:
            with suppress(OSError):  # the folder may be gone; then nothing is left to say
                self._holder.unlink()
        self._unlock()

    def _unlock(self) -> None:
        if self._let_go is not None:
            let_go, self._let_go = self._let_go, None
            let_go()

    def __exit__(self, *error: object) -> None:
        self.release()


def _locked(folder: Path) -> Callable[[], object]:
    """Lock a folder, and return what unlocks it. Raises a `Timeout` if another program has it."""
    if os.name == "nt":
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        lock.acquire()
        return lock.release
    import fcntl

    # non-blocking: not to wait for the other end of a pipe
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / LOCK, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD:
            raise Timeout(str(folder / LOCK)) from error
        if error.errno not in _NO_LOCKS:
            raise
        marker = SoftFileLock(folder / MARKER, timeout=0, thread_local=False)
        marker.acquire()
        return marker.release
    except BaseException:
        os.close(descriptor)
        raise

    def unlock() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a child process has the file open
        finally:
            os.close(descriptor)

    return unlock


def check_entries(folder: Path, follow: bool = False) -> None:
    """Raise a `SessionError` if something in a session leads out of it, or is no file or folder at all.

    Masks are looked at when they are written. `follow` allows symbolic links to files and folders, where nothing is
    to be written. Raises an `OSError` if the folder cannot be read.
    """
    entries = list(os.scandir(folder))
    for entry in entries:  # and those in its folders, which join them
        if entry.is_symlink() and not follow:
            raise SessionError(
                f"{entry.path} is a symbolic link, and this program writes only inside a session's folder. Put the "
                "file or folder itself there, or delete the link; for reading only the session opens as it is."
            )
        is_file, is_folder, name = entry.is_file(), entry.is_dir(), entry.name
        if (
            not (is_file or is_folder or not os.path.exists(entry.path))
            or (is_folder and name in _FILES)
            or (is_file and name in _FOLDERS)
        ):
            wanted = "folder" if name in _FOLDERS else "file"
            advice = "Delete it, or restore the session from a backup."
            raise SessionError(f"{entry.path} is no {wanted}. {advice}")
        is_ours = name in _FOLDERS or name.startswith("backup-schema-")
        if is_folder and is_ours and Path(entry.path).parent == folder:
            entries += os.scandir(entry.path)


def refuse_links(folder: Path, *parts: str) -> None:
    """Raise an `OSError` if a part of a path inside `folder`, which need not be there, is a symbolic link."""
    path = os.fspath(folder)
    for part in parts:
        path = os.path.join(path, part)
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise OSError(errno.ELOOP, f"{path} is a symbolic link: delete it")
        except FileNotFoundError:
            return


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Make a `SessionError` that says what to do of an `OSError`."""
    try:
        yield
    except OSError as error:
        raise SessionError(
            f"Cannot write to {folder}: {error.strerror or error}. Free some space or check the folder, then "
            "repeat the last step; everything before it is safe."
        ) from error


def what_to_do(error: OSError) -> str:
    """A sentence on what helps against an error of the disk."""
    if error.errno == errno.ENOSPC:
        return "Free some space there, then repeat the last step."
    return "Choose a session folder you can write to."
