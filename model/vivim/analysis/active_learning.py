"""Suggest which frame to correct next: an uncertain one, far from corrected ones, that stands for many others.

A frame's need grows with the distance in time to the nearest corrected frame. Each frame counts by the rank of the
model's uncertainty among the frames left, and a little even where it is certain. The frame chosen lowers the summed
need of all frames most (weighted facility location). It lies in the middle of those that the model is uncertain
about. As long as no uncertainty is known, this spreads corrections over the video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vivim.session import Session

MAX_CANDIDATES = 256
"""Frames compared with each other. In longer videos half of them are spread evenly, half are the most uncertain."""

MAX_SERVED = 1024
"""Frames whose need is summed up. In longer videos they are an even selection."""

BASE_WEIGHT = 0.3
"""Weight of a frame that the model is certain about. The most uncertain one counts 1 more."""

UNCERTAIN_FROM = 0.8
"""Rank of uncertainty from which the reason is `UNCERTAIN`."""

UNCERTAIN = "the model is unsure here"
FAR = "far from any corrected frame"
MANY = "stands for many frames around it"
END = "the model is unsure at this end of the video"
END_SHARE = 0.05
"""Part of a video that is looked at as one of its ends, of at least `END_FRAMES`."""
END_FRAMES = 3


@dataclass(frozen=True)
class Suggestion:
    """A frame worth correcting, and why, for a person to read."""

    frame: int
    reason: str
    """A few words: `UNCERTAIN`, `FAR`, `MANY` or `END`."""
    score: float
    """Part by which correcting it would lower the weighted need of all frames, in [0, 1]."""


def need(distance: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Need of a correction, in [0, 1): 0 at a corrected frame, 1/2 at `scale` frames away."""
    return distance / (distance + scale)


def uncertainty_ranks(
    uncertainty: NDArray | None, free: NDArray[np.int64], frames: int
) -> NDArray[np.float64]:
    """Rank ``(frames,)`` in [0, 1] of each free frame's uncertainty among them. 0 where it is not known."""
    ranks = np.zeros(frames)
    if uncertainty is None:
        return ranks
    known = free[np.isfinite(uncertainty[free])]
    _, place = np.unique(uncertainty[known], return_inverse=True)
    ranks[known] = place / max(1, int(place.max(initial=0)))
    return ranks


class Queue:
    """Choose one frame after the other, each as if those chosen before were corrected.

    `uncertainty` is ``(frames,)`` float, larger where the model is less certain; NaN where unknown.
    """

    def __init__(self, corrected: list[int], frames: int, uncertainty: NDArray | None = None) -> None:
        self._frames = frames
        self._scale = max(4.0, frames / 8)  # frames over which a correction loses half its use
        self._taken = np.zeros(frames, bool)
        self._taken[corrected] = True
        self._any = bool(corrected)
        self._ranks = uncertainty_ranks(uncertainty, np.flatnonzero(~self._taken), frames)
        self._nearest = np.full(frames, float(frames))
        """Distance ``(frames,)`` to the nearest corrected frame, the length of the video where there is none."""
        if corrected:
            self._nearest = ndimage.distance_transform_edt(~self._taken)
        self._served = _evenly_from(np.arange(frames), MAX_SERVED)

    def next(self) -> Suggestion | None:
        """Choose a frame and count it as corrected. None where none is left."""
        free = np.flatnonzero(~self._taken)
        if not len(free):
            return None
        candidates = free
        if len(free) > MAX_CANDIDATES:
            half = MAX_CANDIDATES // 2
            own = self._ranks * need(self._nearest, self._scale)
            most_uncertain = free[np.argpartition(-own[free], half)[:half]]
            candidates = np.union1d(_evenly_from(free, half), most_uncertain)
        before = self._nearest[self._served]
        after = np.minimum(before, np.abs(self._served - candidates[:, None]))
        weights = BASE_WEIGHT + self._ranks[self._served]
        total = float(need(before, self._scale) @ weights)
        lowered = total - need(after, self._scale) @ weights
        best = int(np.argmax(lowered))
        chosen = int(candidates[best])
        suggestion = Suggestion(chosen, self._reason(chosen), float(lowered[best] / max(total, 1e-9)))
        self._taken[chosen] = self._any = True
        np.minimum(self._nearest, np.abs(np.arange(self._frames) - chosen), out=self._nearest)
        return suggestion

    def _reason(self, t: int) -> str:
        if self._ranks[t] >= UNCERTAIN_FROM:
            return UNCERTAIN
        return FAR if self._any and self._nearest[t] >= self._scale else MANY


def _evenly_from(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose at most `count` values evenly, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(len(values), count)).round().astype(int)
    return values[np.unique(places)]


def suggest_frames(session: Session, n: int = 5, skip: Sequence[int] = ()) -> list[Suggestion]:
    """Suggest frames to correct, the most useful first, each chosen as if those before it were corrected.

    Parameters
    ----------
    session : Session
        Corrected and accepted frames are never suggested.
    n : int
        How many at most. Fewer where fewer frames are left.
    skip : sequence of int
        Frames not to be suggested, as if they were corrected.
    """
    done = session.frames_with("corrected", "accepted")
    queue = Queue(sorted({*done, *skip}), len(session), np.asarray(session.uncertainty))
    chosen = (queue.next() for _ in range(n))
    return [suggestion for suggestion in chosen if suggestion is not None]


def uncertain_ends(session: Session, skip: Sequence[int] = ()) -> list[Suggestion]:
    """The most uncertain frame of each end of a video, where the model is as uncertain there as hardly anywhere.

    A frame at an end stands for few others, so that `suggest_frames` comes to it late. `score` is the uncertainty's
    rank.
    """
    total, found = len(session), []
    taken = {*session.frames_with("corrected", "accepted"), *skip}
    free = np.setdiff1d(np.arange(total), list(taken))
    ranks = uncertainty_ranks(np.asarray(session.uncertainty), free, total)
    size = min(max(END_FRAMES, round(total * END_SHARE)), total // 4)
    for end in (range(size), range(total - size, total)):
        worst = max(end, key=lambda t: ranks[t], default=0)
        if len(end) and taken.isdisjoint(end) and ranks[worst] >= UNCERTAIN_FROM:
            found.append(Suggestion(worst, END, float(ranks[worst])))
    return found
