"""Which video a session is about: found again where it was moved or renamed, never mistaken for another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.errors import SessionError, VideoChangedError, VideoError
from vivim.leavings import shortened
from vivim.session.description import FILE, Description, Earlier, shape_of, size_of
from vivim.session.folder import SUFFIX
from vivim.session.ledger import now
from vivim.session.places import places
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
    description = replace(description, video=path.name)
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


def find_video(description: Description, folder: Path, opened: Video | None) -> Path:
    """Where a session's video is now: beside the session, where it was last, or near either under another name.

    Parameters
    ----------
    opened : Video or None
        The video, if it is open already.

    Returns
    -------
    Path
        Where it was last, or would be beside the session, if it is nowhere.
    """
    if opened is not None and Path(opened.path).exists():
        return Path(opened.path)
    candidates = places(description, folder)
    there = [path for path in candidates if path.exists()]
    if len(there) > 1:
        return next((path for path in there if _is_it(path, description)), there[0])
    if there:
        return there[0]
    for path in _entries(dict.fromkeys(path.parent for path in candidates)):
        if path.suffix != SUFFIX and _is_it(path, description):
            return path
    return candidates[-1]


def home_of(video: Video) -> Path:
    """The folder of a video's session: beside it and named after it, or after what it was called before.

    Where the settings name a folder for sessions, new ones are made there, under the video's name and the beginning of
    its content's digest: videos of many folders may be called alike.
    """
    path = Path(video.path)
    home = beside(path)
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
        if description.identity == identity and not any(at.exists() for at in places(description, folder)):
            return folder
    common = settings().sessions_folder
    return Path(common).expanduser() / shortened(f"{path.name}-{identity[:8]}{SUFFIX}") if common else home


def beside(path: Path) -> Path:
    """The folder of a session beside its video, named after it as far as the file system takes so long a name."""
    return path.with_name(shortened(path.name + SUFFIX))


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
