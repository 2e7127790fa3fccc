"""Which video a session is about: found again where it was moved or renamed, never mistaken for another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.errors import SessionError, VideoChangedError, VideoError
from vivim.session.description import FILE, Description, Earlier, recorded_path, shape_of, size_of
from vivim.session.folder import SUFFIX
from vivim.session.ledger import now
from vivim.settings import settings

if TYPE_CHECKING:
    from vivim.video import Video

MOST_ENTRIES = 10_000
"""A folder with more entries is not searched for a video that was renamed."""


def linked(description: Description, video: Video, folder: Path, relink: bool) -> Description:
    """What a session says of its video once `video` is taken for it.

    Parameters
    ----------
    relink : bool
        Take it although its content is another, as long as it has as many frames of the same size.

    Raises
    ------
    VideoChangedError
        If it is another video, or the same one in another encoding and `relink` is False.
    """
    fits = shape_of(video) == description.shape
    identity = video.identity()
    if not fits or (identity != description.identity and not relink):
        raise _changed(description, video, folder, fits)
    path = Path(video.path)
    if not _same_place(path, recorded_video(description, folder)):
        description = replace(description, video=recorded_path(path, folder))
    if identity != description.identity:
        former = Earlier(description.identity, now())
        description = replace(description, identity=identity, earlier=(*description.earlier, former))
    return replace(description, size_bytes=size_of(path))


def _changed(description: Description, video: Video, folder: Path, fits: bool) -> VideoChangedError:
    frames, height, width = description.shape
    was, (count, high, wide) = f"{frames} frames of {width}x{height}", shape_of(video)
    name = Path(video.path).name
    if fits:
        text = (
            f"{name} has as many frames of the same size as the video that {folder.name} was made for, but another "
            "content: it was encoded anew, or replaced. If it shows the same pictures, take it as this session's "
            "video (relink=True); if not, open the original, or choose another session folder for this one."
        )
    else:
        text = (
            f"{folder.name} was made for another video: it has {was}, {name} has {count} of {wide}x{high}. Open the "
            "original video, or choose another session folder for this one."
        )
    return VideoChangedError(text, folder=folder, video=Path(video.path), relinkable=fits)


def recorded_video(description: Description, folder: Path) -> Path:
    """Where a session says its video is."""
    recorded = Path(description.video)
    return recorded if recorded.is_absolute() else Path(os.path.normpath(folder.absolute() / recorded))


def find_video(description: Description, folder: Path) -> Path:
    """Where a session's video is now: where it was, beside the session, or near either under another name.

    Returns
    -------
    Path
        The path recorded, which is not there, if it is nowhere.
    """
    recorded = recorded_video(description, folder)
    beside = folder.absolute().parent / recorded.name
    for path in (recorded, beside):
        if path.exists():
            return path
    for path in _entries(dict.fromkeys((recorded.parent, beside.parent))):
        if path.suffix != SUFFIX and _is_it(path, description):
            return path
    return recorded


def home_of(video: Video) -> Path:
    """The folder of a video's session: beside it and named after it, or after what it was called before.

    Where the settings name a folder for sessions, new ones are made there, under the video's name and the beginning of
    its content's digest: videos of many folders may be called alike.
    """
    path = Path(video.path)
    home = path.with_name(path.name + SUFFIX)
    if home.exists():
        return home
    identity = video.identity()
    for folder in _entries([path.absolute().parent]):
        if folder.suffix != SUFFIX or not (folder / FILE).is_file():
            continue
        try:
            description = Description.read(folder / FILE)
        except SessionError:
            continue  # damaged: not the one looked for, as far as can be known
        if description.identity == identity and not recorded_video(description, folder).exists():
            return folder
    common = settings().sessions_folder
    return Path(common).expanduser() / f"{path.name}-{identity[:8]}{SUFFIX}" if common else home


def _is_it(path: Path, description: Description) -> bool:
    """Whether there is the very video described under another name; only files of its size are opened."""
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


def _entries(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            found = sorted(folder.iterdir())
        except OSError:
            continue  # gone, or not to be read: nothing to be found there
        yield from found[:MOST_ENTRIES]


def _same_place(path: Path, other: Path) -> bool:
    return os.path.normpath(path.absolute()) == os.path.normpath(other.absolute())
