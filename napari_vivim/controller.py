"""`Controller`: everything the panels do to one video. Free of Qt and napari; one for each video layer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vivim.jobs import Job, JobThread
from vivim.errors import ExportError

if TYPE_CHECKING:
    from vivim.export import ExportEvent
    from vivim.finetune import FinetuneEvent
    from vivim.inference import ProposeEvent
    from vivim.session import Session


@dataclass(frozen=True)
class Counts:
    """How many frames are in each state."""

    empty: int
    proposed: int
    corrected: int
    accepted: int

    @property
    def usable(self) -> int:
        """Frames a model can learn from."""
        return self.corrected + self.accepted


class Controller:
    """The session of one video, and the threads that work on it.

    Parameters
    ----------
    session : Session
        Open for writing; closed by `close`.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.masks = session.editable()
        self.proposing: Job | None = None
        self._inference = JobThread("vivim-inference")
        self._tasks = JobThread("vivim-tasks")
        self._models: dict[str, Any] = {}

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.session.read_only

    @property
    def busy(self) -> bool:
        """Whether masks are being proposed."""
        return self._inference.busy

    def counts(self) -> Counts:
        """Frames in each state."""
        found = Counter(int(code) for code in self.session.statuses)
        return Counts(*(found[code] for code in range(4)))

    def next_frame(self) -> int | None:
        """The frame worth correcting next; None where a person has dealt with all of them."""
        from vivim.suggest import suggest_frame

        return suggest_frame(self.session)

    def resume_line(self) -> str:
        """One line on what an earlier sitting left."""
        counts = self.counts()
        if counts.empty == len(self.session):
            return "New session: no masks yet."
        return f"Resumed: {counts.usable} of {len(self.session)} frames corrected or accepted, nothing lost."

    def propose(self, model: str, device: str, start: int) -> Job:
        """Propose masks for all frames no person has touched, from frame `start` outward."""

        def make() -> Iterator[ProposeEvent]:
            from vivim.inference import propose

            return iter(propose(self.session, self._model(model), start=start, device=device))

        self.stop()
        self.proposing = self._inference.start(make)
        return self.proposing

    def stop(self) -> None:
        """Stop proposing; what is done stays."""
        if self.proposing is not None:
            self.proposing.stop()

    def finetune(self, model: str, device: str) -> Job:
        """Learn from the corrected frames, into a new version."""

        def make() -> Iterator[FinetuneEvent]:
            from vivim.finetune import finetune

            return iter(finetune([self.session], self._model(model), device=device))

        return self._tasks.start(make)

    def export(self, out: Path, formats: Sequence[str], only: str) -> Job:
        """Write the masks out."""

        def make() -> Iterator[ExportEvent]:
            from vivim.export import export

            return iter(export(self.session, out, formats, only=only))

        return self._tasks.start(make)

    def _model(self, name: str) -> Any:
        """A model by name, loaded once; only the latest is kept in memory."""
        loaded = self._models.get(name)
        if loaded is None:
            from vivim.models import load_model

            loaded = load_model(name)
            self._models = {name: loaded}
        return loaded

    def close(self) -> None:
        """Stop all work and let go of the session; safe to call twice."""
        self.stop()
        self._inference.close()
        self._tasks.close()
        self.masks.close()
        self.session.close()


def open_controller(video: Path, folder: Path | None = None) -> Controller:
    """Open or resume the session of a video; `folder` where it is not beside the video.

    Raises
    ------
    SessionError, VideoError
        If it cannot be opened.
    """
    from vivim.session import Session

    return Controller(Session.open(video, folder=folder))


def session_folder(video: Path) -> Path:
    """Where a video's session lives unless another folder is chosen."""
    return video.with_name(video.name + ".vivim")


def needs_folder(video: Path) -> bool:
    """Whether there is no session beside the video, and none can be made there."""
    return not session_folder(video).is_dir() and not os.access(video.parent, os.W_OK)


def time_left(seconds: float | None) -> str:
    """A duration for people, as in ``about 2 min left``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def check_formats(formats: Sequence[str]) -> None:
    """Say so if nothing is ticked.

    Raises
    ------
    ExportError
        If `formats` is empty.
    """
    if not formats:
        raise ExportError("No format is ticked. Tick at least one of them.")

