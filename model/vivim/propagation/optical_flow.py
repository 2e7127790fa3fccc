"""Optical flow between the frames of one video, computed once, and pixels followed along it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.utils.lru_cache import LRUCache
from vivim.utils.system import cores

FLOWS_KEPT = 512
"""Flows between neighbouring frames kept in memory. At 256 x 256 each takes a quarter of a MiB."""

GREY_KEPT = 96
"""Grey frames kept in memory, as many as usually lie between two corrected frames."""

MAX_THREADS = 16
"""Threads that compute flow."""

FLOWS_AT_ONCE = 16
"""Flows computed between two moments at which the work can be stopped."""

FINEST_SCALE = 2
"""Flow is computed down to a quarter of the frame's side. Finer flow follows the grain of ultrasound, which changes
from frame to frame, and takes several times as long."""

FlowCache = LRUCache[tuple[int, int], Future[NDArray[np.float16]]]
"""Flows of one video by (source, target), finished or being computed."""


class Motion:
    """Optical flow between neighbouring frames of one video, shared by its guides from as many threads.

    ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` at the network's input size. `flows` were computed before.
    """

    def __init__(self, frame: Callable[[int], NDArray[np.uint8]], flows: FlowCache | None = None) -> None:
        self._flows: FlowCache = LRUCache(FLOWS_KEPT) if flows is None else flows
        self.grey = functools.lru_cache(GREY_KEPT)(functools.partial(_grey, frame))
        """``grey(t)``: frame `t` in grey, uint8 ``(H, W)``."""

    def __call__(self, source: int, target: int) -> NDArray[np.float32]:
        """Return the displacement ``(H, W, 2)`` in pixels (x, y) from each pixel of `source` to `target`."""
        return self._begin(source, target).result().astype(np.float32)

    def fetch(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Compute the flow of some (source, target), at most `FLOWS_KEPT`, side by side on several cores."""
        for pair in pairs:
            self._begin(*pair)

    def _begin(self, source: int, target: int) -> Future[NDArray[np.float16]]:
        """Return the flow of a pair, perhaps still being computed."""
        found = self._flows.get((source, target))
        if found is not None:
            return found
        pictures = self.grey(source), self.grey(target)
        return self._flows.get_or_make((source, target), lambda: _threads().submit(_flow, *pictures))


def chain_flow(motion: Motion, maps: NDArray[np.float32], frames: range) -> Iterator[NDArray[np.float32]]:
    """Continue sampling positions ``(H, W, 2)`` from the frame before `frames`, one frame after the other."""
    for flow in flows_of(motion, [(t, t - frames.step) for t in frames]):
        maps = sample(maps, np.add(identity(flow.shape[:2]), flow))
        yield maps


def track_points(motion: Motion, points: NDArray[np.float32], frames: range) -> Iterator[NDArray[np.float32]]:
    """Follow points ``(H, W, 2)`` from the frame before `frames`, one frame after the other."""
    for flow in flows_of(motion, [(t - frames.step, t) for t in frames]):
        points = points + sample(flow, points)
        yield points


def flows_of(motion: Motion, pairs: Sequence[tuple[int, int]]) -> Iterator[NDArray[np.float32]]:
    """Yield the flow of each (source, target) in turn, `FLOWS_AT_ONCE` of them computed side by side."""
    for number, pair in enumerate(pairs):
        if number % FLOWS_AT_ONCE == 0:
            motion.fetch(pairs[number : number + FLOWS_AT_ONCE])
        yield motion(*pair)


def _grey(frame: Callable[[int], NDArray[np.uint8]], t: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame(t), cv2.COLOR_RGB2GRAY), np.uint8)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MAX_THREADS, cores()), thread_name_prefix="vivim-flow")


def _flow(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Flow, to a hundredth of a pixel at 16 pixels of motion."""
    return np.asarray(flow_of_thread()(source, target), np.float16)


def flow_of_thread() -> OpticalFlow:
    """Return the calling thread's own `OpticalFlow`, since one must not work for two threads at a time."""
    if not hasattr(_own, "flow"):
        _own.flow = OpticalFlow()
    return _own.flow  # type: ignore[no-any-return]


_own = threading.local()


@functools.lru_cache(maxsize=4)
def identity(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Sampling positions ``(H, W, 2)`` that leave a picture as it is."""
    height, width = shape
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def sample(picture: NDArray, maps: NDArray[np.float32]) -> NDArray:
    """Sample a picture ``(H, W)`` or ``(H, W, c)`` bilinearly at `maps` ``(H, W, 2)``, clamped at the border."""
    return cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class OpticalFlow:
    """Dense optical flow between grey pictures (DIS, Kroeger et al. 2016, through OpenCV), for one thread."""

    def __init__(self) -> None:
        # by shape and by whether a start is given: OpenCV's object keeps the scales that it chose for small pictures,
        # and the start that it was once given
        self._found: dict[tuple[tuple[int, ...], bool], cv2.DISOpticalFlow] = {}

    def __call__(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        start: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the displacement ``(H, W, 2)`` in pixels (x, y) from each pixel of `source` to `target`."""
        key = source.shape, start is None
        if key not in self._found:
            self._found = {known: dis for known, dis in self._found.items() if known[0] == source.shape}
            self._found[key] = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
            self._found[key].setFinestScale(FINEST_SCALE)
        begin = None if start is None else start.copy()  # OpenCV writes into it
        return self._found[key].calc(source, target, begin)  # type: ignore[arg-type, return-value]  # stubs lack None
