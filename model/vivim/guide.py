"""Carry a person's corrected masks along a video's motion, so that the network can start from them.

The functions of `vivim.guidance`, applied to one video while proposing: lazily, stretch by stretch between
corrected frames, with bounded memory.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim import guidance
from vivim.distance import signed_distance

REACH = 64
"""Frames over which a corrected mask is carried; farther away it says nothing any more."""

RUNS_KEPT = 6
"""Stretches (one corrected frame, one direction) kept in memory."""

FLOWS_KEPT = 256
"""Flows between neighbouring frames kept in memory: at 256 x 256, a quarter of a MiB each."""

MOST_THREADS = 16
"""Threads that work out flow."""

FLOWS_AT_ONCE = 16
"""Flows worked out between two moments at which the work can be stopped."""

DISTANCES_KEPT = 16
"""Distances of corrected masks kept in memory."""


class Flows:
    """Flows of one video by (source, target), for any thread: the latest of them, and those being worked out."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int], Future[NDArray[np.float16]]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, pair: tuple[int, int]) -> Future[NDArray[np.float16]] | None:
        """The flow of a pair, perhaps still being worked out; None where nobody has asked for it lately."""
        with self._lock:
            found = self._kept.get(pair)
            if found is not None:
                self._kept.move_to_end(pair)
            return found

    def begin(self, pair: tuple[int, int], source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Have the flow between two grey pictures worked out, unless another thread asked for it meanwhile."""
        with self._lock:
            if pair not in self._kept:
                self._kept[pair] = _threads().submit(_flow, source, target)
            while len(self._kept) > FLOWS_KEPT:
                self._kept.popitem(last=False)


class Motion:
    """Optical flow between neighbouring frames of one video, the latest of it kept.

    Several guides of one video (each without another corrected frame, say) share one, and with it the flow, from as
    many threads.

    Parameters
    ----------
    frame : callable
        ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` at the network's input size.
    flows : Flows, optional
        Flows of the same frames that were worked out before.
    """

    def __init__(self, frame: Callable[[int], NDArray[np.uint8]], flows: Flows | None = None) -> None:
        self._frame = frame
        self._flows = flows or Flows()

    def __call__(self, source: int, target: int) -> NDArray[np.float32]:
        """Displacement ``(H, W, 2)`` in pixels (x, y): where each pixel of frame `source` lies in frame `target`."""
        while (found := self._flows.find((source, target))) is None:
            self.fetch([(source, target)])
        return found.result().astype(np.float32)

    def fetch(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Have the flow of some (source, target) worked out, at most `FLOWS_KEPT`; side by side on several cores."""
        missing = [pair for pair in pairs if self._flows.find(pair) is None]
        grey = {t: _grey(self._frame(t)) for t in dict.fromkeys(t for pair in missing for t in pair)}
        for source, target in missing:
            self._flows.begin((source, target), grey[source], grey[target])


def maps_between(
    motion: Motion, t: int, anchor: int, shape: tuple[int, int], stop: threading.Event | None = None
) -> NDArray[np.float32] | None:
    """Where each pixel of frame `t` lies in frame `anchor`, following the motion between them.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the frames that `motion` sees.
    stop : threading.Event, optional
        Set to give up.

    Returns
    -------
    ndarray or None
        ``(H, W, 2)`` float32 sampling positions in pixels, x first; None if stopped.
    """
    maps = identity(shape)
    step = 1 if t > anchor else -1
    onward = _followed(motion, maps, range(anchor + step, t + step, step))
    while stop is None or not stop.is_set():
        further = next(onward, None)
        if further is None:
            return maps
        maps = further
    return None


def _followed(motion: Motion, maps: NDArray[np.float32], ahead: range) -> Iterator[NDArray[np.float32]]:
    """Sampling positions carried on from the frame before `ahead`, one frame after the other."""
    for number, to in enumerate(ahead):
        if number % FLOWS_AT_ONCE == 0:
            motion.fetch([(t, t - ahead.step) for t in ahead[number : number + FLOWS_AT_ONCE]])
        flow = motion(to, to - ahead.step)
        maps = read(maps, np.add(identity(flow.shape[:2]), flow))
        yield maps


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="vivim-flow")


def _flow(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Flow, to a hundredth of a pixel at 16 pixels of motion.

    By the calling thread's own `OpticalFlow`: one must not work for two threads at a time.
    """
    if not hasattr(_own, "flow"):
        _own.flow = guidance.OpticalFlow()
    return np.asarray(_own.flow(source, target), np.float16)


_own = threading.local()


@dataclass
class _Run:
    """A mask carried frame by frame from its anchor, as far as anybody has asked."""

    maps: NDArray[np.float32]
    """Where each pixel of the last frame lies in the anchor, ``(H, W, 2)``."""
    carried: list[NDArray[np.float16]]


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
    """

    def __init__(
        self,
        frame: Callable[[int], NDArray[np.uint8]],
        masks: Mapping[int, NDArray[np.bool_]],
        motion: Motion | None = None,
    ) -> None:
        self._masks = masks
        self._anchors = np.array(sorted(masks), dtype=int)
        self._motion = motion or Motion(frame)
        self._digests: dict[int, str] = {}
        self._distances: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._runs: OrderedDict[tuple[int, int], _Run] = OrderedDict()

    def neighbours(self, t: int) -> tuple[int | None, int | None]:
        """The corrected frames at or before and at or after `t`, where they are within reach."""
        after = int(np.searchsorted(self._anchors, t))
        if after < len(self._anchors) and self._anchors[after] == t:
            return t, t
        previous = int(self._anchors[after - 1]) if after else None
        following = int(self._anchors[after]) if after < len(self._anchors) else None
        return (
            previous if previous is not None and t - previous <= REACH else None,
            following if following is not None and following - t <= REACH else None,
        )

    def depends_on(self, frames: Sequence[int]) -> tuple[tuple[int, str], ...]:
        """The corrected frames that some frames are guided by, and what tells their masks from others."""
        anchors = sorted({t for frame in frames for t in self.neighbours(frame) if t is not None})
        for t in anchors:
            if t not in self._digests:
                self._digests[t] = hashlib.sha256(self._masks[t].tobytes()).hexdigest()[:16]
        return tuple((t, self._digests[t]) for t in anchors)

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
        nothing = np.zeros_like(self._distance_of(ends[0]))
        before = self._carried(previous, t) if previous is not None else nothing
        after = self._carried(following, t) if following is not None else nothing
        gaps = [
            float(abs(t - anchor)) if anchor is not None else float("inf") for anchor in (previous, following)
        ]
        mixed = guidance.blend(
            torch.from_numpy(before), torch.from_numpy(after), torch.tensor(gaps[0]), torch.tensor(gaps[1])
        )
        return mixed.numpy(), min(gaps)

    def planes(self, frames: Sequence[int]) -> Tensor:
        """Guide planes ``(T, 2, H, W)`` for the network, for `frames` in the order given."""
        distances, away = zip(*(self.distance(t) for t in frames), strict=True)
        return guidance.planes(torch.from_numpy(np.stack(distances)), torch.tensor(away))

    def _distance_of(self, anchor: int) -> NDArray[np.float32]:
        """Signed distance of a corrected mask."""
        if anchor not in self._distances:
            self._distances[anchor] = signed_distance(self._masks[anchor])
            if len(self._distances) > DISTANCES_KEPT:
                self._distances.popitem(last=False)
        self._distances.move_to_end(anchor)
        return self._distances[anchor]

    def _carried(self, anchor: int, t: int) -> NDArray[np.float32]:
        """The mask of `anchor` carried to frame `t`, as a signed distance."""
        step = 1 if t > anchor else -1
        run = self._runs.get((anchor, step))
        if run is None:
            run = self._runs[anchor, step] = _Run(identity(self._distance_of(anchor).shape), [])
            while len(self._runs) > RUNS_KEPT:
                self._runs.popitem(last=False)
        self._runs.move_to_end((anchor, step))
        ahead = range(anchor + step * (len(run.carried) + 1), t + step, step)
        for maps in _followed(self._motion, run.maps, ahead):
            run.maps = maps
            run.carried.append(read(self._distance_of(anchor), maps).astype(np.float16))
        return run.carried[abs(t - anchor) - 1].astype(np.float32)


@functools.lru_cache(maxsize=4)
def identity(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Sampling positions ``(H, W, 2)`` that leave a picture as it is."""
    height, width = shape
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def read(picture: NDArray[np.float32], maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """`guidance.sample` for one picture ``(H, W)`` or ``(H, W, c)``, through OpenCV."""
    import cv2

    return np.asarray(
        cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )
