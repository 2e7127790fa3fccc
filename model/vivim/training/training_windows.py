"""Random windows into clips: which frames go together, and which of them are known by their masks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SPAN = 40
"""Longest stretch of a clip, in frames, that one window may reach over."""

AS_IN_USE = 0.6
"""Part of the windows that are as in use: neighbouring frames, and corrected frames beside them."""


@dataclass(frozen=True)
class Windows:
    """Windows into clips: `starts` ``(B,)`` within the clips, and `offsets` ``(B, T)`` from there, rising from 0.

    `known` ``(B, T)`` are the frames given as masks.
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    known: NDArray[np.bool_]


def draw_windows(
    rng: np.random.Generator, lengths: NDArray[np.int64], frames: int, guided_share: float
) -> Windows:
    """Draw one window of `frames` frames in each clip of the given `lengths`, repeating frames of short clips."""
    starts, offsets, known = [], [], []
    for length in lengths.tolist():
        if length > frames > 2 and rng.random() < AS_IN_USE:
            at, given = _as_in_use(rng, length, frames, guided_share)
        else:
            at, given = _spread(rng, length, frames), known_frames(rng, frames, guided_share)
        offsets.append(at)
        known.append(np.isin(at, at[given]))  # a frame that is there twice is known twice
        starts.append(rng.integers(0, length - at[-1]))
    return Windows(np.array(starts), np.stack(offsets), np.stack(known))


def known_frames(rng: np.random.Generator, frames: int, guided_share: float) -> NDArray[np.bool_]:
    """Draw which of `frames` frames are known: none, one end, both ends, or a random one or two."""
    known = np.zeros(frames, bool)
    if rng.random() >= guided_share:
        return known
    kind = rng.random()
    if kind < 0.4:
        known[[0, -1]] = True
    elif kind < 0.8:
        known[rng.choice([0, -1])] = True
    else:
        known[rng.choice(frames, rng.integers(1, 3), replace=frames < 2)] = True
    return known


def _as_in_use(
    rng: np.random.Generator, length: int, frames: int, guided_share: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw neighbouring frames, and where guided a corrected frame before, after, or on both sides of them."""
    known = np.zeros(frames, bool)
    if rng.random() >= guided_share:
        return np.arange(frames), known
    sides = [(True, False), (False, True), (True, True)][rng.choice(3, p=[0.25, 0.25, 0.5])]
    room = min(length, MAX_SPAN) - frames
    steps = np.ones(frames - 1, int)
    for side, at in zip(sides, (0, -1), strict=True):
        if side:
            known[at] = True
            gap = min(room, round(math.exp(rng.uniform(0, math.log(MAX_SPAN)))) - 1)
            steps[at] += gap
            room -= gap
    return np.concatenate(([0], np.cumsum(steps))), known


def _spread(rng: np.random.Generator, length: int, frames: int) -> NDArray[np.int64]:
    """Draw frames at uneven distances."""
    if length < frames:
        return np.sort(np.concatenate((np.arange(length), rng.integers(0, length, frames - length))))
    span = int(min(length, MAX_SPAN, max(frames, round(frames * math.exp(rng.uniform(0, 1.6))))))
    if frames == 1:
        return np.zeros(1, int)
    inner = rng.choice(np.arange(1, span - 1), frames - 2, replace=False)
    return np.concatenate(([0], np.sort(inner), [span - 1])).astype(int)
