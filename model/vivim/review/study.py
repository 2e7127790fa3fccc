"""A study: videos in a folder, each with the sessions of its readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vivim.batch.inputs import find, is_one
from vivim.errors import SessionError
from vivim.review.agreement import Agreement, agreement
from vivim.session import Session
from vivim.session.metadata import FILE, SUFFIX


@dataclass(frozen=True)
class StudyClip:
    """A video of a study."""

    name: str
    """Its path in the study without the ending, or a number."""
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

    def agreement(self, sessions: dict[str, Session]) -> Agreement | None:
        """Agreement of those who have a session, None for fewer than two."""
        if len(sessions) < 2:
            return None
        return agreement(list(sessions.values()), readers=list(sessions), clip=self.name)


def clips_of(path: Path, *, numbered: bool = False) -> list[StudyClip]:
    """The videos of a study, or the one that a video or a session is of, in natural order of names.

    `numbered`: name them ``"video 1"`` and so on, where files are named after patients. Raises a `SessionError` if a
    video has no session, a `VivimError` if there are none.
    """
    if is_one(path):
        found = [(path.name.removesuffix(SUFFIX), path)]
    else:
        found = [(one.stem, one.path) for one in find([path], path, sessions=True)]
    return [
        StudyClip(f"video {number}" if numbered else name, readers_in(home))
        for number, (name, home) in enumerate(found, start=1)
    ]
