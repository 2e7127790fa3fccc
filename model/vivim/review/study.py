"""A study: videos in a folder, each with the sessions of its readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from vivim.batch.inputs import find, is_one, stems
from vivim.errors import SessionError
from vivim.review.agreement import Agreement, agreement
from vivim.session import Session
from vivim.session.metadata import FILE, Description, sessions_in, top_of
from vivim.session.video_link import home_of
from vivim.video import open_video


@dataclass(frozen=True)
class StudyClip:
    """A video of a study."""

    name: str
    """The stem of its file, or a number. Folders may be named after patients, and are left out."""
    place: str
    """Its path in the study, without the ending."""
    folders: dict[str, Path]
    """The session's folder of each reader."""

    @contextmanager
    def opened(self, readers: Sequence[str] | None = None) -> Iterator[dict[str, Session]]:
        """Open the sessions of some readers for reading, by default of all. Who has none is left out."""
        with ExitStack() as stack:
            names = [name for name in readers or self.folders if name in self.folders]
            yield {
                name: stack.enter_context(Session.open(self.folders[name], read_only=True)) for name in names
            }

    def agreement(
        self, sessions: dict[str, Session], progress: Callable[[int, int], object] = lambda done, total: None
    ) -> Agreement:
        """Agreement of two or more readers."""
        return agreement(list(sessions.values()), readers=list(sessions), clip=self.name, progress=progress)


def clips_of(path: Path, *, numbered: bool = False) -> list[StudyClip]:
    """The videos of a study that have a session, or the one that a video or a session is of, in order of names.

    The folder of one reader's session is that reader's work alone. `numbered`: name videos ``"video 1"`` and so on,
    where files are named after patients. Raises a `VivimError` if there is no session.
    """
    if is_one(path):
        name = _name(path)
        return [StudyClip("video 1" if numbered else name, name, _sessions_of(path))]
    folders = [one.path for one in find([path], path, sessions=True)]
    tops = list(dict.fromkeys(top_of(folder, Description.read(folder / FILE)) for folder in folders))
    names = stems([PurePath(top.name) for top in tops], tops)
    places = names  # of a pattern such as study/*.mp4
    if path.is_dir():
        places = stems([PurePath(top.relative_to(path.absolute())) for top in tops], tops)
    if numbered:
        names = [f"video {number}" for number in range(1, len(tops) + 1)]
    return [StudyClip(*one) for one in zip(names, places, map(_by_reader, tops), strict=True)]


def clips_with(
    path: Path, readers: Sequence[str] | None = None, *, numbered: bool = False
) -> list[StudyClip]:
    """As `clips_of`. Raises a `SessionError`, too, if one of `readers` has no session of any video."""
    clips = clips_of(path, numbered=numbered)
    known = list(dict.fromkeys(name for clip in clips for name in clip.folders))
    if unknown := [name for name in readers or () if name not in known]:
        raise SessionError(
            f"There is no session of reader {unknown[0]} in {path}. Readers are {', '.join(known)}."
        )
    return clips


def _name(path: Path) -> str:
    """What one video is called: as in a study that holds it alone."""
    top = top_of(path, Description.read(path / FILE)) if (path / FILE).is_file() else path
    return stems([PurePath(top.name)], [top])[0]


def _sessions_of(path: Path) -> dict[str, Path]:
    """Session folders of a video, or in the folder of all its readers, or that of one of them, by reader."""
    if not sessions_in(path):
        with closing(open_video(path)) as video:
            path = home_of(video)
    if not sessions_in(path):
        raise SessionError(f"There is no session in {path}. Propose or draw masks first.")
    return _by_reader(path)


def _by_reader(folder: Path) -> dict[str, Path]:
    return {Description.read(session / FILE).reader: session for session in sessions_in(folder).values()}
