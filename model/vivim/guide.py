"""Carry a person's corrected masks along a video's motion, so that the network can start from them.

The functions of `vivim.guidance`, applied to one video while proposing: lazily, stretch by stretch between
corrected frames, with bounded memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

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


class MaskGuide:
    """What a set of corrected frames says about any other frame of the same video.

    Parameters
    ----------
    frame : callable
        ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` at the network's input size.
    masks : mapping of int to ndarray
        Corrected frames: bool ``(H, W)`` at the same size.
    length : int
        Frames in the video.
    """

    def __init__(
        self, frame: Callable[[int], NDArray[np.uint8]], masks: Mapping[int, NDArray[np.bool_]], length: int
    ) -> None:
        self._frame = frame
        self._distances = {t: signed_distance(mask) for t, mask in masks.items()}
        self._anchors = np.array(sorted(masks), dtype=int)
        self._length = length
        self._flow = guidance.OpticalFlow()
        self._runs: OrderedDict[tuple[int, int], list[NDArray[np.float16]]] = OrderedDict()

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

    def distance(self, t: int) -> tuple[NDArray[np.float32], float]:
        """Propagated signed distance ``(H, W)`` in pixels at frame `t`, and frames to the nearest corrected one.

        Zeros and infinity where no corrected frame is within reach.
        """
        if t in self._distances:
            return self._distances[t], 0.0
        previous, following = self.neighbours(t)
        shape = next(iter(self._distances.values())).shape if self._distances else (1, 1)
        nothing = np.zeros(shape, np.float32)
        before = self._carried(previous, t) if previous is not None else nothing
        after = self._carried(following, t) if following is not None else nothing
        gaps = [
            float(abs(t - anchor)) if anchor is not None else float("inf") for anchor in (previous, following)
        ]
        if not np.isfinite(min(gaps)):
            return nothing, float("inf")
        mixed = guidance.blend(
            torch.from_numpy(before), torch.from_numpy(after), torch.tensor(gaps[0]), torch.tensor(gaps[1])
        )
        return mixed.numpy(), min(gaps)

    def planes(self, frames: list[int]) -> Tensor:
        """Guide planes ``(T, 2, H, W)`` for the network, for `frames` in the order given."""
        distances, away = zip(*(self.distance(t) for t in frames), strict=True)
        return guidance.planes(torch.from_numpy(np.stack(distances)), torch.tensor(away))

    def _carried(self, anchor: int, t: int) -> NDArray[np.float32]:
        """The mask of `anchor` carried to frame `t`, as a signed distance."""
        key = (anchor, 1 if t > anchor else -1)
        if key not in self._runs:
            self._runs[key] = self._carry(*key)
            while len(self._runs) > RUNS_KEPT:
                self._runs.popitem(last=False)
        self._runs.move_to_end(key)
        return self._runs[key][abs(t - anchor) - 1].astype(np.float32)

    def _carry(self, anchor: int, step: int) -> list[NDArray[np.float16]]:
        """Carry one mask frame by frame until the next corrected frame, the reach, or the end of the video."""
        start = self._distances[anchor]
        height, width = start.shape
        identity = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        maps = identity
        previous = _grey(self._frame(anchor))
        carried = []
        for t in range(anchor + step, anchor + step * (REACH + 1), step):
            if not 0 <= t < self._length or t in self._distances:
                break
            current = _grey(self._frame(t))
            maps = _read(maps, np.add(identity, self._flow(current, previous)))
            carried.append(_read(start, maps).astype(np.float16))
            previous = current
        return carried


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _read(picture: NDArray[np.float32], maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """`guidance.sample` for one picture ``(H, W)`` or ``(H, W, c)``, through OpenCV."""
    import cv2

    return np.asarray(
        cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )
