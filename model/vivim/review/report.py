"""The report of a study: progress, effort and agreement of its readers, as one object for tables, JSON and HTML.

It holds names of readers, and of videos unless these are numbered. It holds no path and nothing of a DICOM header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vivim.imaging.metrics import label_dice
from vivim.review.agreement import (
    Agreement,
    AreaDifference,
    area_difference,
    pooled,
)
from vivim.review.consensus import consensus_frames, independent
from vivim.review.effort import IDLE_SECONDS, effort
from vivim.review.study import StudyClip, clips_with
from vivim.session import STATUS_NAMES, Session
from vivim.utils.json_types import as_json


@dataclass(frozen=True)
class SessionReport:
    """One reader's work on one video."""

    clip: str
    reader: str
    state: str
    frames: dict[str, int]
    """Frames by status."""
    ignored: int
    open_comments: int
    edited: dict[int, tuple[int, float]]
    """For each frame that a person edited, the edits and the seconds they took; see `vivim.review.effort`."""
    consensus_dice: float
    """Mean Dice with the majority of all readers, this one included. NaN where there is no other reader."""

    @property
    def edits(self) -> int:
        """Edits of all frames."""
        return sum(edits for edits, _ in self.edited.values())

    @property
    def seconds(self) -> float:
        """Time of all frames."""
        return sum(seconds for _, seconds in self.edited.values())

    def as_dict(self) -> dict[str, Any]:
        """The session in the report's JSON."""
        return {
            "clip": self.clip,
            "reader": self.reader,
            "state": self.state,
            "frames": self.frames,
            "ignored": self.ignored,
            "open_comments": self.open_comments,
            "edits": self.edits,
            "minutes": self.seconds / 60,
            "consensus_dice": self.consensus_dice,
            "edited_frames": [
                {"frame": t, "edits": edits, "seconds": seconds}
                for t, (edits, seconds) in self.edited.items()
            ],
        }


@dataclass(frozen=True)
class StudyReport:
    """All sessions of a study, and how well their readers agree."""

    sessions: tuple[SessionReport, ...]
    agreements: dict[str, Agreement]
    """By name, for each video with several readers."""
    idle_seconds: float

    @property
    def readers(self) -> tuple[str, ...]:
        """All readers."""
        return tuple(dict.fromkeys(one.reader for one in self.sessions))

    @cached_property
    def agreement(self) -> Agreement | None:
        """Agreement over all videos, None where no video has several readers."""
        return pooled(list(self.agreements.values())) if self.agreements else None

    def of_reader(self, reader: str) -> dict[str, Any]:
        """The sums of one reader."""
        own = [one for one in self.sessions if one.reader == reader]
        seconds, edited = sum(one.seconds for one in own), sum(len(one.edited) for one in own)
        scores = [one.consensus_dice for one in own if np.isfinite(one.consensus_dice)]
        return {
            "reader": reader,
            "clips": len(own),
            **{name: sum(one.frames[name] for one in own) for name in STATUS_NAMES},
            "ignored": sum(one.ignored for one in own),
            "edited_frames": edited,
            "edits": sum(one.edits for one in own),
            "minutes": seconds / 60,
            "seconds_per_edited_frame": seconds / edited if edited else float("nan"),
            "consensus_dice": float(np.mean(scores)) if scores else float("nan"),
        }

    def as_dict(self) -> dict[str, Any]:
        """The object that ``vivim report --json`` prints. None where a number is not defined."""
        found = self.agreement
        summed = None if found is None else {k: v for k, v in found.as_dict().items() if k != "frames"}
        result = {
            "idle_seconds": self.idle_seconds,
            "readers": [self.of_reader(reader) for reader in self.readers],
            "sessions": [one.as_dict() for one in self.sessions],
            "agreement": summed,
            "areas": [
                {"readers": one.readers, "unit": one.unit, "bias": one.bias, "limits": one.limits}
                for one in self.area_differences()
            ],
        }
        return as_json(result, digits=4)

    def area_differences(self) -> list[AreaDifference]:
        """Differences of areas, for each pair of readers who share enough frames."""
        if (found := self.agreement) is None:
            return []
        differences = (area_difference(found, pair) for pair in combinations(found.readers, 2))
        return [one for one in differences if one is not None]


def study_report(
    path: str | Path,
    *,
    readers: Sequence[str] | None = None,
    idle_seconds: float = IDLE_SECONDS,
    numbered: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> StudyReport:
    """Gather the report of a study.

    Parameters
    ----------
    path : str or Path
        A folder of videos with their sessions, or one video or session.
    readers : sequence of str, optional
        Whose sessions count. By default all readers'; those to whom a consensus was proposed are compared with nobody.
    idle_seconds : float
        A longer time without an edit is a break, and no work.
    numbered : bool
        Call the videos ``"video 1"`` and so on, where files are named after patients.
    progress : callable, optional
        Called with the videos done and the videos in all.

    Raises
    ------
    SessionError, VideoError
        If there is no session, one of `readers` has none, or one cannot be opened.
    """
    sessions, agreements = list[SessionReport](), dict[str, Agreement]()
    clips = clips_with(Path(path), readers, numbered=numbered)
    for done, clip in enumerate(clips, start=1):
        with clip.opened(readers) as opened:
            compared = opened if readers else independent(opened)
            if len(compared) > 1:
                agreements[clip.name] = clip.agreement(compared)
            scores = dict(zip(compared, _consensus_dice(list(compared.values())), strict=True))
            for reader, session in opened.items():
                score = scores.get(reader, float("nan"))
                sessions.append(_of_session(clip, reader, session, score, idle_seconds))
        progress(done, len(clips))
    return StudyReport(tuple(sessions), agreements, idle_seconds)


def _of_session(
    clip: StudyClip, reader: str, session: Session, score: float, idle_seconds: float
) -> SessionReport:
    counts = np.bincount(session.statuses, minlength=len(STATUS_NAMES)).tolist()
    edited = {t: (one.edits, one.seconds) for t, one in effort(session, idle_seconds).items()}
    return SessionReport(
        clip.name,
        reader,
        session.state,
        dict(zip(STATUS_NAMES, counts, strict=True)),
        len(session.frames_tagged("ignore")),
        sum(not comment.resolved for comment in session.comments),
        edited,
        score,
    )


def _consensus_dice(sessions: Sequence[Session]) -> list[float]:
    """For each session its mean Dice with the majority, over frames in which it or the majority has something."""
    scores: list[list[float]] = [[] for _ in sessions]
    if len(sessions) > 1:
        vouched = [set(session.vouched_frames()) for session in sessions]
        for one in consensus_frames(sessions, "majority"):
            for session, frames, own in zip(sessions, vouched, scores, strict=True):
                mask = session.masks[one.frame] if one.frame in frames else None
                if mask is not None and (mask.any() or one.mask.any()):
                    own.append(label_dice(mask, one.mask))
    return [float(np.mean(own)) if own else float("nan") for own in scores]
