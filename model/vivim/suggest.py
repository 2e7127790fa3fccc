"""Which frame to correct next: the one whose correction would serve most of the frames that are still unsure.

A correction helps the frames around it and fades with the distance in time. Choosing the frame that lowers the sum
of what is left (facility location, greedily) spreads corrections over the video and leans to where the model is
unsure; with nothing corrected it falls near the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vivim.session import Session

MAX_CANDIDATES = 512
"""Frames that are weighed against each other; in longer videos an even selection of them."""


def need(distance: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """How much a frame still needs a correction, in [0, 1): 0 at a corrected frame, 1/2 at `scale` frames away."""
    return distance / (distance + scale)


def next_frame(
    corrected: list[int], frames: int, uncertainty: NDArray | None = None, scale: float | None = None
) -> int | None:
    """The frame whose correction lowers the summed, weighted need of all frames most.

    Parameters
    ----------
    corrected : list of int
        Frames a person has already dealt with.
    frames : int
        Frames in the video.
    uncertainty : ndarray, optional
        ``(frames,)`` float, larger where the model is less sure; NaN where unknown. It makes a frame count
        up to a tenth more or less than the average.
    scale : float, optional
        Distance in frames over which a correction loses half its use; by default an eighth of the video.

    Returns
    -------
    int or None
        None where every frame is corrected.
    """
    taken = np.zeros(frames, bool)
    taken[corrected] = True
    free = np.flatnonzero(~taken)
    if not len(free):
        return None
    scale = scale or max(4.0, frames / 8)
    weight = np.ones(frames)
    if uncertainty is not None and np.isfinite(uncertainty[free]).any():
        known = np.isfinite(uncertainty)
        ranks = np.argsort(np.argsort(uncertainty[known])) / max(1, int(known.sum()) - 1)
        weight[known] = 0.9 + 0.2 * ranks
    at = np.unique(np.linspace(0, frames - 1, min(frames, 4 * MAX_CANDIDATES)).round().astype(int))
    nearest = np.full(len(at), float(frames))
    for t in corrected:
        np.minimum(nearest, np.abs(at - t), out=nearest)
    candidates = free[
        np.unique(np.linspace(0, len(free) - 1, min(len(free), MAX_CANDIDATES)).round().astype(int))
    ]
    left = np.minimum(nearest, np.abs(at - candidates[:, None]))
    cost = need(left, scale) @ weight[at]
    return int(candidates[np.argmin(cost)])


@dataclass(frozen=True)
class Suggestion:
    """A frame worth correcting, and why, for a person to read."""

    frame: int
    reason: str
    """A few words, such as "the model is unsure here"."""
    score: float
    """Share of what is still needed over the whole video that correcting it would serve, in [0, 1]."""


NOTHING_YET = "like most of the video"
FAR = "far from any corrected frame"
UNSURE = "the model is unsure here"


def suggestions(session: Session, n: int = 5) -> list[Suggestion]:
    """The frames worth correcting, the most useful first, each chosen as if those before it were corrected.

    Parameters
    ----------
    session : Session
        Corrected and accepted frames are never suggested.
    n : int
        How many at most; fewer where fewer frames are left.
    """
    done = session.frames_with("corrected", "accepted")
    uncertainty = np.asarray(session.uncertainty)
    queue: list[Suggestion] = []
    for number in range(n):
        frame = next_frame(done, len(session), uncertainty)
        if frame is None:
            break
        doubt = np.nan_to_num(uncertainty, nan=-1.0)
        unsure = doubt[frame] >= 0 and (doubt >= doubt[frame]).mean() <= 0.2
        reason = UNSURE if unsure else FAR if done else NOTHING_YET
        queue.append(Suggestion(frame, reason, 1.0 / (number + 1)))
        done.append(frame)
    return queue


def suggest_frame(session: Session) -> int | None:
    """The next frame of a session worth correcting; None where a person has dealt with all of them."""
    queue = suggestions(session, 1)
    return queue[0].frame if queue else None
