"""Which video a session is about: found again where it was moved or renamed, never mistaken for another."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.errors import SessionError, VideoChangedError, VideoError
from vivim.session.ledger import now
from vivim.session.metadata import FILE, SUFFIX, Description, sessions_in, shape_of, size_of, top_of
from vivim.session.migrations import name_of
from vivim.settings import settings, vivim_home
from vivim.utils.atomic_files import atomic_write, shortened

if TYPE_CHECKING:
    from vivim.video import Video

MOST_ENTRIES = 10_000
"""A folder with more entries is not searched for a video that was renamed."""
NOTES = "videos"
"""The user's folder of notes on where videos are."""
NOTE_BYTES = 2**16
"""A larger note is none of ours."""
NAMES_ONLY = 3
"""From this schema on a session keeps of its video's path only the name."""
UNNAMED = "unnamed video"
_log = logging.getLogger(__name__)


def linked(description: Description, video: Video, folder: Path, relink: bool) -> Description:
    """What a session says of its video once `video` is taken for it.

    With `relink` it is taken although its content is another, as long as it has as many frames of the same size.
    Raises a `VideoChangedError` if it is another video, or without `relink` the same one in another encoding.
    """
    (frames, height, width), (count, high, wide) = description.shape, shape_of(video)
    identity, name = video.identity(), Path(video.path).name
    if description.shape != shape_of(video):
        text = (
            f"{folder.name} was made for another video: it has {frames} frames of {width}x{height}, {name} has {count} "
            f"of {wide}x{high}. Open the original video, or choose another session folder for this one."
        )
        raise VideoChangedError(text, folder=folder, video=Path(video.path), relinkable=False)
    if identity != description.identity and not relink:
        text = (
            f"{name} has as many frames of the same size as the video that {folder.name} was made for, but another "
            "content: it was encoded anew, or replaced. If it shows the same pictures, take it as this session's "
            "video (relink=True); if not, open the original, or choose another session folder for this one."
        )
        raise VideoChangedError(text, folder=folder, video=Path(video.path), relinkable=True)
    path = Path(video.path)
    description = replace(description, video=path.name)
    if identity != description.identity:
        former = {"identity": description.identity, "until": now()}
        description = replace(description, identity=identity, earlier=(*description.earlier, former))
    return replace(description, size_bytes=size_of(path))


def find_video(description: Description, folder: Path) -> Path:
    """Where a session's video is now: beside the session, where it was last, or near either under another name.

    If it is nowhere, where it was last, or would be beside the session.
    """
    candidates = places(description, folder)
    there = [path for path in candidates if path.exists()]
    if there:
        sure = (path for path in there if len(there) == 1 or _is_it(path, description))
        return next(sure, there[0])
    for parent in dict.fromkeys(path.parent for path in candidates):
        for path in _entries(parent):
            if path.suffix != SUFFIX and _is_it(path, description):
                return path
    return candidates[-1]


def home_of(video: Video) -> Path:
    """The folder of a video's session: beside it and named after it, or after what it was called before.

    Where the settings name a folder for sessions, new ones are made there, under the video's name and the beginning
    of its content's digest: videos of many folders may be called alike.
    """
    path = Path(video.path)
    home = path.with_name(shortened(path.name + SUFFIX))
    if home.exists():
        return home
    identity, entries = video.identity(), _entries(path.absolute().parent)
    names, seen = {entry.name for entry in entries}, known_place(identity) is not None
    for folder in entries:
        # A session beside a video of its name is that one's, unless it was linked to a renamed one, which is noted.
        if folder.suffix != SUFFIX or (folder.stem in names and not seen):
            continue
        try:
            session = next(iter(sessions_in(folder).values()), None)
            if session is None:
                continue
            description = Description.read(session / FILE)
        except SessionError:
            continue  # damaged: not the one looked for, as far as can be known
        if description.identity == identity and not any(at.exists() for at in places(description, folder)):
            return folder
    common = settings().sessions_folder
    return Path(common).expanduser() / shortened(f"{path.name}-{identity[:8]}{SUFFIX}") if common else home


def _is_it(path: Path, description: Description) -> bool:
    """Whether there is the very video described under another name. Opens only files of its size."""
    from vivim.video import open_video

    try:
        if description.size_bytes is None or size_of(path) != description.size_bytes:
            return False
        video = open_video(path)
    except (OSError, VideoError):
        return False
    try:
        return video.identity() == description.identity
    except OSError:
        return False
    finally:
        video.close()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:MOST_ENTRIES]
    except OSError:
        return []  # gone, or not to be read: nothing to be found there


def places(description: Description, folder: Path) -> list[Path]:
    """Where the video of the session in `folder` may be: where that says, beside it, where the user last saw it."""
    home, name = top_of(folder, description), name_of(description.video)
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
    note = _note(identity)
    try:
        if note is None or note.stat().st_size > NOTE_BYTES:
            return None
        path = Path(os.fsdecode(note.read_bytes()))
    except OSError:
        return None  # never noted, or not to be read: as good as not known
    return path if path.is_absolute() and "\0" not in str(path) else None


def remember_place(description: Description, folder: Path, video: Path) -> None:
    """Note where a session's video is, unless it lies beside under its name. If that fails, the log says so."""
    home, video = top_of(folder, description), Path(os.path.abspath(video))
    note, beside = _note(description.identity), video.with_name(shortened(video.name + SUFFIX))
    if note is None or home == beside or video == known_place(description.identity):
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as part:
            part.touch(mode=0o600)
            part.write_bytes(os.fsencode(video))
    except OSError as error:
        _log.warning(
            "Where a session's video is could not be noted in %s (%s). The next time, open the video itself.",
            note.parent,
            error.strerror or error,
        )


def _note(identity: str) -> Path | None:
    """The file for a video. None for an identity that is none, as in a damaged session."""
    return vivim_home() / NOTES / identity if identity.isalnum() and len(identity) <= 128 else None
