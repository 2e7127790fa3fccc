"""The folder of a session: made whole or not at all, and written by one program at a time."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vivim.errors import SessionError
from vivim.session.description import FILE, Description
from vivim.session.kept import PROPOSALS
from vivim.session.last_close import FILE as CLOSED
from vivim.session.migrate import SCHEMA, back_up, leave_folders_out
from vivim.session.places import keep_place
from vivim.session.record import LEDGER, MASKS
from vivim.session.store import MaskStore, half_written

SUFFIX = ".vivim"
LOCK, HOLDER = "lock", "lock.holder"


def check_place(folder: Path) -> None:
    """Whether a session could be made in `folder`, which need not be there yet; nothing is written.

    Raises
    ------
    SessionError
        If it could not.
    """
    if (folder / LEDGER).exists() and not (folder / FILE).exists():
        raise SessionError(
            f"{folder} holds work but no {FILE}. Restore it from a backup, or choose another folder."
        )
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise SessionError(
            f"Cannot make a session in {folder}: nothing can be written in {nearest}. Choose a session folder you "
            "can write to."
        )


def create_folder(folder: Path, description: Description) -> bool:
    """Make the folder of a new session; ``session.json`` comes last, so that it stands only on a whole session.

    Returns
    -------
    bool
        False if another program has made it in the meantime.

    Raises
    ------
    SessionError
        If it cannot be written, or holds work whose ``session.json`` is lost.
    """
    try:
        check_place(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder):
            if (folder / FILE).is_file():
                return False
            check_place(folder)
            MaskStore(folder / MASKS, description.shape).create()
            description.write(folder / FILE)
            return True
    except OSError as error:
        raise SessionError(
            f"Cannot make a session in {folder}: {error.strerror or error}. {_what_to_do(error)}"
        ) from error


def brought_up_to_date(folder: Path) -> Description:
    """The description of a session that is locked; one of an older schema is backed up and written anew.

    Raises
    ------
    SessionError
        If it is damaged or newer, or the backup cannot be made: nothing is changed then.
    """
    description = Description.read(folder / FILE)
    if description.schema != SCHEMA:
        keep_place(description, folder)
        try:
            back_up(folder, description.schema, (FILE, LEDGER))
            for earlier in folder.glob(f"backup-schema-*/{FILE}"):
                leave_folders_out(earlier)
            description.write(folder / FILE)
        except OSError as error:
            raise SessionError(
                f"{folder} is of an older version, and its backup cannot be written: {error.strerror or error}. "
                "Free some space, or open it for reading only."
            ) from error
    return description


class FolderLock:
    """The right to write in a folder, for one program at a time; any thread may let go of it again.

    Attributes
    ----------
    after_crash : bool
        Whether the last one who had it ended without letting go: killed, or in a power cut.

    Raises
    ------
    SessionError
        If another program has it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        self._holder = folder / HOLDER
        try:
            self._lock.acquire()
            try:
                self.after_crash = self._holder.exists()
                self._holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            except OSError:
                self._lock.release()
                raise
        except Timeout as error:
            raise SessionError(
                f"{folder} is open in another window or program{self._known()}. Close it there first, or open it for "
                "reading only."
            ) from error
        except OSError as error:
            raise SessionError(
                f"Cannot write in {folder}: {error.strerror or error}. {_what_to_do(error)}"
            ) from error

    def _known(self) -> str:
        try:
            return f" ({self._holder.read_text(errors='replace')[:200]})"
        except OSError:
            return ""

    def release(self) -> None:
        """Let go of it."""
        with suppress(OSError):  # the folder may be gone; then nothing is left to say
            self._holder.unlink()
        self._lock.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def sweep(folder: Path) -> int:
    """Remove what a killed program left half-written in a session; for its one writer, before anything is written.

    Returns
    -------
    int
        How many files or folders.
    """
    left = [
        *(folder / f".{name}.part" for name in (FILE, CLOSED, LEDGER)),
        *folder.glob(".backup-schema-*.part"),
        *(folder / PROPOSALS).glob(".*.part"),
    ]
    left += half_written(folder / MASKS)
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _what_to_do(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "Free some space there, then repeat the last step."
    return "Choose a session folder you can write to."
