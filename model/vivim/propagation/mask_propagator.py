"""Carry a person's corrected masks along a video's motion, so that the network can start from them.

The functions of `vivim.propagation.guidance_planes`, applied to one video while proposing: lazily, stretch by
stretch between
corrected frames, with bounded memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.imaging.signed_distance import signed_distance
from vivim.propagation import guidance_planes
from vivim.propagation.confidence import around, confidence, correlation, lost, softened
from vivim.propagation.drift_correction import registered_along
from vivim.propagation.optical_flow import Motion, followed, identity, read, tracked

REACH = 64
"""Frames over which a corrected mask is carried; farther away it says nothing any more."""

RUNS_KEPT = 6
"""Stretches (one corrected frame, one direction) kept in memory."""

SOME = (slice(None, None, 2), slice(None, None, 2))
"""Pixels that tell how far to trust a carried mask: each second one of each second row."""

DISTANCES_KEPT = 16
"""Distances of corrected masks kept in memory."""

FAVOUR = 3.0
"""Of two masks carried to one frame, each counts by its trust to this power, and by its nearness in time."""

LEAST_CONFIDENCE = 0.05
"""Trust with which a carried mask counts at least beside another."""


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


def shares(confidences: Sequence[float], gaps: Sequence[int]) -> list[float]:
    """How much masks count that were carried to one frame, 1 together: by how far to trust each, and from how far."""
    weights = [
        max(confidence, LEAST_CONFIDENCE) ** FAVOUR / gap
        for confidence, gap in zip(confidences, gaps, strict=True)
    ]
    return [weight / sum(weights) for weight in weights]


@dataclass
class _Run:
    """A mask carried frame by frame from its anchor, as far as anybody has asked."""

    maps: NDArray[np.float32]
    """Where each pixel of the last frame lies in the anchor, ``(H, W, 2)``, as followed from frame to frame."""
    registered: NDArray[np.float32]
    """The same, set right at each frame; masks are carried by these."""
    places: NDArray[np.float32]
    """Where pixels of the anchor lie in the last frame, ``(H/2, W/2, 2)``: those in `SOME`."""
    softened: NDArray[np.float32]
    """The anchor's picture ``(H, W)``."""
    propagated: list[NDArray[np.float16]] = field(default_factory=list)


class MaskGuide:
    """What a set of corrected frames says about any other frame of the same video.

    Parameters
    ----------
    frame : callable
        ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` at the network's input size.
    masks : mapping of int to ndarray
        Corrected frames: bool ``(H, W)`` at the same size. Read when needed.
    motion : Motion, optional
        Flow of the same frames, where it is shared with other guides.
    trusts : mutable mapping, optional
        How far to trust carried masks, as far as guides of the same frames found out before.
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
        self._distances: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._runs: OrderedDict[tuple[int, int], _Run] = OrderedDict()
        self._confidences: MutableMapping[Hashable, float] = {} if confidences is None else confidences
        self._lock = threading.RLock()

    def neighbours(self, t: int) -> tuple[int | None, int | None]:
        """The corrected frames at or before and at or after `t`, where they are within reach."""
        return neighbours(self._anchors, t)

    def depends_on(self, frames: Sequence[int]) -> tuple[tuple[int, str], ...]:
        """The corrected frames that some frames are guided by, and what tells their masks from others."""
        anchors = sorted({t for frame in frames for t in self.neighbours(frame) if t is not None})
        return tuple((t, self._digest_of(t)) for t in anchors)

    def confidence(self, t: int) -> float:
        """How far to trust the masks carried to frame `t`, in [0, 1]: 1 at a corrected frame, 0 with none in reach.

        See `vivim.propagation.confidence`. For any thread.
        """
        previous, following = self.neighbours(t)
        if previous == t:
            return 1.0
        ends = [anchor for anchor in (previous, following) if anchor is not None]
        if not ends:
            return 0.0
        shares = self._shares(ends, t)
        return float(
            sum(share * self._confidence_in(anchor, t) for anchor, share in zip(ends, shares, strict=True))
        )

    def _shares(self, ends: Sequence[int], t: int) -> list[float]:
        """How much the masks carried to frame `t` from one or two corrected frames count, 1 together."""
        return shares(
            [self._confidence_in(anchor, t) for anchor in ends], [abs(t - anchor) for anchor in ends]
        )

    def _confidence_in(self, anchor: int, t: int) -> float:
        """How far to trust the mask that is carried to frame `t` from one corrected frame."""
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

    def distance(self, t: int) -> tuple[NDArray[np.float32], float]:
        """Propagated signed distance ``(H, W)`` in pixels at frame `t`, and frames to the nearest corrected one.

        Zeros and infinity where no corrected frame is within reach.
        """
        if t in self._masks:
            return self._distance_of(t), 0.0
        previous, following = self.neighbours(t)
        ends = [anchor for anchor in (previous, following) if anchor is not None]
        if not ends:
            shape = self._distance_of(int(self._anchors[0])).shape if len(self._anchors) else (1, 1)
            return np.zeros(shape, np.float32), float("inf")
        mixed = np.zeros_like(self._distance_of(ends[0]))
        for anchor, share in zip(ends, self._shares(ends, t), strict=True):
            mixed += np.float32(share) * self._propagated(anchor, t)
        return mixed, float(min(abs(t - anchor) for anchor in ends))

    def planes(self, frames: Sequence[int]) -> Tensor:
        """Guide planes ``(T, 2, H, W)`` for the network, for `frames` in the order given."""
        with self._lock:
            distances, away = zip(*(self.distance(t) for t in frames), strict=True)
        return guidance_planes.planes(torch.from_numpy(np.stack(distances)), torch.tensor(away))

    def _distance_of(self, anchor: int) -> NDArray[np.float32]:
        """Signed distance of a corrected mask."""
        if anchor not in self._distances:
            self._distances[anchor] = signed_distance(self._masks[anchor])
            if len(self._distances) > DISTANCES_KEPT:
                self._distances.popitem(last=False)
        self._distances.move_to_end(anchor)
        return self._distances[anchor]

    def _propagated(self, anchor: int, t: int) -> NDArray[np.float32]:
        """The mask of `anchor` carried to frame `t`, as a signed distance; on the way, how far to trust it."""
        step = 1 if t > anchor else -1
        run = self._runs.get((anchor, step))
        if run is None:
            home = identity(self._distance_of(anchor).shape)
            run = self._runs[anchor, step] = _Run(home, home, home[SOME], softened(self._motion.grey(anchor)))
            while len(self._runs) > RUNS_KEPT:
                self._runs.popitem(last=False)
        self._runs.move_to_end((anchor, step))
        ahead = range(anchor + step * (len(run.propagated) + 1), t + step, step)
        ways = zip(
            ahead,
            followed(self._motion, run.maps, ahead),
            registered_along(self._motion, anchor, run.registered, ahead),
            tracked(self._motion, run.places, ahead),
            strict=True,
        )
        for to, run.maps, run.registered, run.places in ways:
            propagated = read(self._distance_of(anchor), run.registered)
            run.propagated.append(propagated.astype(np.float16))
            self._confidences[anchor, self._digest_of(anchor), to] = self._judged(anchor, to, run, propagated)
        return run.propagated[abs(t - anchor) - 1].astype(np.float32)

    def _judged(self, anchor: int, t: int, run: _Run, propagated: NDArray[np.float32]) -> float:
        """How far to trust a mask that has been carried to frame `t`."""
        undone = read(run.softened, run.registered[SOME])
        alike = correlation(undone, softened(self._motion.grey(t))[SOME], around(propagated[SOME]))
        distance = self._distance_of(anchor)
        back = read(run.maps, run.places)
        return confidence(alike, lost(back, identity(distance.shape)[SOME], around(distance[SOME])))
