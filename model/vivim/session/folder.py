"""The folder of a session: made whole or not at all, and written by one program at a time."""

import os
from pathlib import Path

from vivim.errors import SessionError
from vivim.session.damage_check import CLOSED
from vivim.session.folder_lock import FolderLock, what_to_do
from vivim.session.frame_snapshots import PROPOSALS
from vivim.session.ledger import LEDGER
from vivim.session.mask_store import MASKS, MaskStore, half_written
from vivim.session.metadata import FILE, Description
from vivim.session.migrations import SCHEMA, back_up, leave_folders_out
from vivim.session.video_link import keep_place
from vivim.utils.atomic_files import PART, flush, flush_one, remove


def check_place(folder: Path) -> None:
    """Raise a `SessionError` if no session could be made in `folder`, which need not be there yet."""
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
    """Make the folder of a new session, on the disk.

    ``session.json`` comes last and stands only on a whole session. Returns False if another program has made it in
    the meantime. Raises a `SessionError` if it cannot be written, or holds work whose ``session.json`` is lost.
    """
    try:
        check_place(folder)
        made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder):
            if (folder / FILE).is_file():
                return False
            check_place(folder)
            sweep(folder)
            MaskStore(folder / MASKS, description.shape).create()
            flush(folder / MASKS)
            for path in made:
                flush_one(path.absolute().parent)
            description.write(folder / FILE)
            return True
    except OSError as error:
        raise SessionError(
            f"Cannot make a session in {folder}: {error.strerror or error}. {what_to_do(error)}"
        ) from error


def brought_up_to_date(folder: Path) -> Description:
    """Read the description of a session that is locked, and bring it up to date.

    One of an older schema is backed up and written anew. Raises a `SessionError` if it is damaged or newer, or the
    backup cannot be made: nothing is changed then.
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


def sweep(folder: Path) -> None:
    """Remove what a killed program left half-written in a session. For its one writer, before it writes."""
    old = [f".{name}.part" for name in (FILE, CLOSED, LEDGER, "backup-schema-*")]
    left = half_written(folder / MASKS)
    for pattern in (*old, f"{PART}-*", f"backup-schema-*/{PART}-*", f"{PROPOSALS}/.*.part"):
        left += folder.glob(pattern)
    for path in left:
        remove(path)
