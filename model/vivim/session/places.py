"""Where videos are that lie elsewhere than their sessions: noted in the user's own folder, never in the session.

The folders that lead to a video may name a patient, and a session is handed on. So a session keeps the name of its
video's file, and the way there stands in `vivim_home`, one small file for each video, named by the digest of its
content.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from vivim.leavings import part_of, put_in_place
from vivim.session.description import Description
from vivim.session.migrate import name_of
from vivim.settings import vivim_home

FOLDER = "videos"
NAMES_ONLY = 3
"""From this schema on a session keeps of its video's path only the name."""
UNNAMED = "unnamed video"
FILE_BYTES = 2**16
"""A larger note is none of ours."""
_log = logging.getLogger(__name__)


def places(description: Description, folder: Path) -> list[Path]:
    """Where a session's video may be: where it says, beside it, where the user last saw it.

    Parameters
    ----------
    folder : Path
        The session's.
    """
    home, name = folder.absolute(), name_of(description.video)
    known = known_place(description.identity)
    if name in ("", ".", ".."):  # damaged, or made to lead elsewhere
        name = UNNAMED
    # only older versions kept the way to a video
    recorded = description.video if description.schema < NAMES_ONLY and name != UNNAMED else name
    beside = home.parent / name
    return [Path(os.path.normpath(home / recorded)), beside, *([known] if known is not None else [])]


def keep_place(description: Description, folder: Path) -> None:
    """Note the path that a session of an older version holds, before it is left out there."""
    recorded, beside, *known = places(description, folder)
    if not beside.exists() and (recorded.exists() or not known):
        remember_place(description, folder, recorded)


def known_place(identity: str) -> Path | None:
    """Where a video was last seen by this user, None if it is not known."""
    try:
        note = _note(identity)
        if note is None or note.stat().st_size > FILE_BYTES:
            return None
        raw = note.read_bytes()
    except OSError:
        return None  # never noted, or not to be read: as good as not known
    path = Path(os.fsdecode(raw)) if raw and b"\0" not in raw else None
    return path if path is not None and path.is_absolute() else None


def remember_place(description: Description, folder: Path, video: Path) -> None:
    """Note where a session's video is, unless it lies beside; where that cannot be written, the log is told."""
    beside, video = places(description, folder)[1], Path(os.path.abspath(video))
    note = _note(description.identity)
    if note is None or video in (Path(os.path.abspath(beside)), known_place(description.identity)):
        return
    part = part_of(note)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        part.touch(mode=0o600)
        part.write_bytes(os.fsencode(video))
        put_in_place(part, note)
    except OSError as error:
        with suppress(OSError):  # there may be no such folder; the log is told below
            part.unlink()
        _log.warning(
            "Where a session's video is could not be noted in %s (%s). The next time, open the video itself.",
            note.parent,
            error.strerror or error,
        )


def _note(identity: str) -> Path | None:
    """The file for a video; None for an identity that is none, as in a damaged session."""
    return vivim_home() / FOLDER / identity if identity.isalnum() and len(identity) <= 128 else None
