"""Propagate a person's corrected masks along a video's motion, so that the network can start from them.

The functions of `vivim.propagation.guidance_planes`, applied to one video while proposing: lazily, from one corrected
frame to the next, with bounded memory.
"""

import hashlib
import threading
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.imaging.signed_distance import signed_distance
from vivim.propagation import guidance_planes
from vivim.propagation.confidence import blur, confidence, correlation, lost_fraction, region_around
from vivim.propagation.drift_correction import register_along
from vivim.propagation.optical_flow import Motion, chain_flow, identity, sample, track_points
from vivim.utils.lru_cache import LRUCache

REACH = 64
"""Frames over which a corrected mask is propagated. Farther away it says nothing any more."""

RUNS_KEPT = 6
"""Runs (one corrected frame, one direction) kept in memory."""

DISTANCES_KEPT = 16
"""Signed distances of corrected masks kept in memory."""

SUBSET = (slice(None, None, 2), slice(None, None, 2))
"""Pixels that confidence is judged by: every second one of every second row."""

CONFIDENCE_EXPONENT = 3.0
"""Exponent on confidence when two propagated masks are blended; each also counts by its nearness in time."""

MIN_CONFIDENCE = 0.05
"""Confidence with which a propagated mask counts at least beside another."""


def neighbours(anchors: NDArray[np.int_], t: int) -> tuple[int | None, int | None]:
    """Of corrected frames in rising order, the one at or before and the one at or after `t`, where within `REACH`."""
    after = int(np.searchsorted(anchors, t))
    if after < len(anchors) and anchors[after] == t:
        return t, t
    previous = int(anchors[after - 1]) if after else None
    following = int(anchors[after]) if after < len(anchors) else None
    return (
        previous if previous is not None and t - previous <= REACH else None,
        following if following is not None and following - t <= REACH else None,
    )


def blend_weights(confidences: Sequence[float], gaps: Sequence[int]) -> list[float]:
    """Weights, 1 together, of masks propagated to one frame, by the confidence in each and the frames it came over."""
    weights = [
        max(confidence, MIN_CONFIDENCE) ** CONFIDENCE_EXPONENT / gap
        for confidence, gap in zip(confidences, gaps, strict=True)
    ]
    return [weight / sum(weights) for weight in weights]


@dataclass
class _Run:
    """A mask propagated frame by frame from its anchor, as far as anybody has asked."""

    maps: NDArray[np.float32]
    """Where each pixel of the last frame lies in the anchor, ``(H, W, 2)``, by chained flow alone."""
    registered: NDArray[np.float32]
    """The same, drift corrected at each frame. Masks are propagated by these."""
    points: NDArray[np.float32]
    """Where pixels of the anchor lie in the last frame, ``(H/2, W/2, 2)``: those of `SUBSET`."""
    blurred: NDArray[np.float32]
    """The anchor's picture ``(H, W)``."""
    propagated: list[NDArray[np.float16]] = field(default_factory=list)


class MaskGuide:
    """What a set of corrected frames says about any other frame of the same video.

    ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` at the network's input size. `masks` are bool ``(H, W)`` at that size,
    read when needed. `motion` is shared with other guides, `confidences` hold what guides of the same frames found
    before.
    """

    def __init__(
        self,
        frame: Callable[[int], NDArray[np.uint8]],
        masks: Mapping[int, NDArray[np.bool_]],
        motion: Motion | None = None,
        confidences: MutableMapping[Hashable, float] | None = None,
    ) -> None:
        self._masks = masks
        self._anchors = np.array(sorted(masks), dtype=int)
        self._motion = motion or Motion(frame)
        self._digests: dict[int, str] = {}
        self._distance_of = lru_cache(DISTANCES_KEPT)(lambda anchor: signed_distance(masks[anchor]))
        self._runs: LRUCache[tuple[int, int], _Run] = LRUCache(RUNS_KEPT)
        self._confidences: MutableMapping[Hashable, float] = {} if confidences is None else confidences
        self._lock = threading.RLock()

    def neighbours(self, t: int) -> tuple[int | None, int | None]:
        """Corrected frames at or before and at or after `t`, where they are within reach."""
        return neighbours(self._anchors, t)

    def depends_on(self, frames: Sequence[int]) -> tuple[tuple[int, str], ...]:
        """Corrected frames that guide some frames, and digests of their masks."""
        anchors = sorted({t for frame in frames for t in self._ends(frame)})
        return tuple((t, self._digest_of(t)) for t in anchors)

    def confidence(self, t: int) -> float:
        """Confidence in the masks propagated to frame `t`, in [0, 1]: 1 at a corrected frame, 0 with none in reach."""
        ends = self._ends(t)
        if ends == [t]:
            return 1.0
        weights = self._blend_weights(ends, t)
        return float(
            sum(weight * self._confidence_in(anchor, t) for anchor, weight in zip(ends, weights, strict=True))
        )

    def distance(self, t: int) -> tuple[NDArray[np.float32], float]:
        """Propagated signed distance ``(H, W)`` in pixels at frame `t`, and frames to the nearest corrected one.

        Zeros and infinity where no corrected frame is within reach.
        """
        ends = self._ends(t)
        if ends == [t]:
            return self._distance_of(t), 0.0
        if not ends:
            shape = self._distance_of(int(self._anchors[0])).shape if len(self._anchors) else (1, 1)
            return np.zeros(shape, np.float32), float("inf")
        blended = np.zeros_like(self._distance_of(ends[0]))
        for anchor, weight in zip(ends, self._blend_weights(ends, t), strict=True):
            blended += np.float32(weight) * self._propagated(anchor, t)
        return blended, float(min(abs(t - anchor) for anchor in ends))

    def planes(self, frames: Sequence[int]) -> Tensor:
        """Guide planes ``(T, 2, H, W)`` for the network, for `frames` in the order given."""
        with self._lock:
            distances, away = zip(*(self.distance(t) for t in frames), strict=True)
        return guidance_planes.planes(torch.from_numpy(np.stack(distances)), torch.tensor(away))

    def _ends(self, t: int) -> list[int]:
        """Corrected frames that guide frame `t`, at most one on each side; itself alone if it is corrected."""
        return sorted({anchor for anchor in self.neighbours(t) if anchor is not None})

    def _blend_weights(self, ends: Sequence[int], t: int) -> list[float]:
        confidences = [self._confidence_in(anchor, t) for anchor in ends]
        return blend_weights(confidences, [abs(t - anchor) for anchor in ends])

    def _confidence_in(self, anchor: int, t: int) -> float:
        """Confidence in the mask propagated to frame `t` from one corrected frame."""
        key = (anchor, self._digest_of(anchor), t)
        found = self._confidences.get(key)
        if found is None:
            with self._lock:
                self._propagated(anchor, t)
            found = self._confidences[key]
        return found

    def _digest_of(self, anchor: int) -> str:
        if anchor not in self._digests:
            self._digests[anchor] = hashlib.sha256(self._masks[anchor].tobytes()).hexdigest()[:16]
        return self._digests[anchor]

    def _propagated(self, anchor: int, t: int) -> NDArray[np.float32]:
        """The mask of `anchor` propagated to frame `t`, as a signed distance; finds the confidences on the way."""
        step = 1 if t > anchor else -1
        run = self._runs.get_or_make((anchor, step), lambda: self._begin(anchor))
        frames = range(anchor + step * (len(run.propagated) + 1), t + step, step)
        ways = zip(
            frames,
            chain_flow(self._motion, run.maps, frames),
            register_along(self._motion, anchor, run.registered, frames),
            track_points(self._motion, run.points, frames),
            strict=True,
        )
        for to, run.maps, run.registered, run.points in ways:
            propagated = sample(self._distance_of(anchor), run.registered)
            run.propagated.append(propagated.astype(np.float16))
            key = (anchor, self._digest_of(anchor), to)
            self._confidences[key] = self._judge(anchor, to, run, propagated)
        return run.propagated[abs(t - anchor) - 1].astype(np.float32)

    def _begin(self, anchor: int) -> _Run:
        start = identity(self._distance_of(anchor).shape)
        return _Run(start, start, start[SUBSET], blur(self._motion.grey(anchor)))

    def _judge(self, anchor: int, t: int, run: _Run, propagated: NDArray[np.float32]) -> float:
        """Confidence in the mask of `anchor` that has just been propagated to frame `t`."""
        undone = sample(run.blurred, run.registered[SUBSET])
        similar = correlation(undone, blur(self._motion.grey(t))[SUBSET], region_around(propagated[SUBSET]))
        distance = self._distance_of(anchor)
        back, start = sample(run.maps, run.points), identity(distance.shape)[SUBSET]
        return confidence(similar, lost_fraction(back, start, region_around(distance[SUBSET])))
