"""Optical flow between the frames of one video, each worked out once, and pixels followed along it."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivim.utils.system import cores

if TYPE_CHECKING:
    import cv2

FLOWS_KEPT = 512
"""Flows between neighbouring frames kept in memory: at 256 x 256, a quarter of a MiB each."""

GREY_KEPT = 96
"""Grey pictures kept in memory, as many as a stretch between two corrected frames usually has."""

MOST_THREADS = 16
"""Threads that work out flow."""

FLOWS_AT_ONCE = 16
"""Flows worked out between two moments at which the work can be stopped."""


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
        self._flows = flows or Flows()
        self.grey = functools.lru_cache(GREY_KEPT)(functools.partial(_grey, frame))
        """``grey(t)``: frame `t` in grey, uint8 ``(H, W)``."""

    def __call__(self, source: int, target: int) -> NDArray[np.float32]:
        """Displacement ``(H, W, 2)`` in pixels (x, y): where each pixel of frame `source` lies in frame `target`."""
        while (found := self._flows.find((source, target))) is None:
            self.fetch([(source, target)])
        return found.result().astype(np.float32)

    def fetch(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Have the flow of some (source, target) worked out, at most `FLOWS_KEPT`; side by side on several cores."""
        missing = [pair for pair in pairs if self._flows.find(pair) is None]
        pictures = {t: self.grey(t) for t in dict.fromkeys(t for pair in missing for t in pair)}
        for source, target in missing:
            self._flows.begin((source, target), pictures[source], pictures[target])


def followed(motion: Motion, maps: NDArray[np.float32], ahead: range) -> Iterator[NDArray[np.float32]]:
    """Sampling positions carried on from the frame before `ahead`, one frame after the other."""
    for flow in flows_of(motion, [(t, t - ahead.step) for t in ahead]):
        maps = read(maps, np.add(identity(flow.shape[:2]), flow))
        yield maps


def tracked(motion: Motion, places: NDArray[np.float32], ahead: range) -> Iterator[NDArray[np.float32]]:
    """Where pixels have gone, ``(H, W, 2)``, carried on from the frame before `ahead`, one frame after the other."""
    for flow in flows_of(motion, [(t - ahead.step, t) for t in ahead]):
        places = places + read(flow, places)
        yield places


def flows_of(motion: Motion, pairs: Sequence[tuple[int, int]]) -> Iterator[NDArray[np.float32]]:
    """The flow of each (source, target) in turn, some worked out at once."""
    for number, pair in enumerate(pairs):
        if number % FLOWS_AT_ONCE == 0:
            motion.fetch(pairs[number : number + FLOWS_AT_ONCE])
        yield motion(*pair)


def _grey(frame: Callable[[int], NDArray[np.uint8]], t: int) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(frame(t), cv2.COLOR_RGB2GRAY), np.uint8)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_THREADS, cores()), thread_name_prefix="vivim-flow")


def _flow(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Flow, to a hundredth of a pixel at 16 pixels of motion."""
    return np.asarray(flow_of_thread()(source, target), np.float16)


def flow_of_thread() -> OpticalFlow:
    """The calling thread's own `OpticalFlow`: one must not work for two threads at a time."""
    if not hasattr(_own, "flow"):
        _own.flow = OpticalFlow()
    return _own.flow  # type: ignore[no-any-return]


_own = threading.local()


@functools.lru_cache(maxsize=4)
def identity(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Sampling positions ``(H, W, 2)`` that leave a picture as it is."""
    height, width = shape
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def read(picture: NDArray[np.float32], maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read a picture ``(H, W)`` or ``(H, W, c)`` at `maps` ``(H, W, 2)`` pixels, bilinearly, clamped at the border."""
    import cv2

    return np.asarray(
        cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


FINEST_SCALE = 2
"""Flow is worked out down to pictures of a quarter of the side: finer than that it follows grain, which in ultrasound
changes from frame to frame, and takes several times as long."""


class OpticalFlow:
    """Dense optical flow between grey pictures (DIS, Kroeger et al. 2016, through OpenCV); for one thread."""

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
        """Displacement ``(H, W, 2)`` in pixels (x, y): where each pixel of `source` lies in `target`.

        Looked for from `start` on, another such displacement, where one is given.
        """
        key = source.shape, start is None
        if key not in self._found:
            self._found = {known: dis for known, dis in self._found.items() if known[0] == source.shape}
            self._found[key] = _optical_flow()
        begin = None if start is None else start.copy()  # OpenCV writes into it
        return self._found[key].calc(source, target, begin)  # type: ignore[arg-type, return-value]  # stubs lack None


def _optical_flow() -> cv2.DISOpticalFlow:
    import cv2

    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(FINEST_SCALE)
    return flow
