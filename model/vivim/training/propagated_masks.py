"""True masks propagated along a clip's motion, as corrected masks are while proposing.

Propagation takes ten milliseconds a frame on two cores, much of it in Python. So that a GPU does not wait for it, other
processes precompute all propagated masks in the first minutes of a run.
"""

import multiprocessing
import os
import tempfile
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.imaging.signed_distance import signed_distance
from vivim.propagation.mask_propagator import MaskGuide, blend_weights, neighbours
from vivim.propagation.optical_flow import Motion
from vivim.training.datasets import Clip
from vivim.training.training_windows import MAX_SPAN
from vivim.utils.lru_cache import LRUCache

QUANTUM = 0.25
"""Pixels to which distances are rounded: OpenCV's are not always the same to the last bit."""

KEPT = 4 * 2**30
"""Bytes of propagated distances kept in memory, those used last."""

_PropagatedClip = dict[tuple[int, int, int], tuple[NDArray[np.int8], float]]
"""Signed distance in quanta and confidence, by clip, frame of the mask, and frame that it is propagated to."""


class PropagatedMasks:
    """Masks of frames propagated to other frames of their clips, computed when first asked for by any thread."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = clips
        self._motions = [Motion(clip.frames.__getitem__) for clip in clips]
        self._found: LRUCache[tuple[int, int, int], tuple[NDArray[np.int8], float]] = LRUCache(
            KEPT // max((clip.masks[0].size for clip in clips), default=1)
        )
        self._processes: ProcessPoolExecutor | None = None
        self._folder: tempfile.TemporaryDirectory | None = None

    def precompute(self, processes: int) -> None:
        """Compute everything in so many other processes, as far as there is room, until `close`."""
        self._folder = tempfile.TemporaryDirectory(prefix="vivim-train-")
        for number, clip in enumerate(self._clips):
            for name, pixels in (("frames", clip.frames), ("masks", clip.masks)):
                np.save(_file(self._folder.name, name, number), pixels)
        self._processes = ProcessPoolExecutor(
            processes,
            multiprocessing.get_context("spawn"),
            initializer=_prepare_process,
            initargs=(self._folder.name, len(self._clips)),
        )
        anchors = [(number, t) for number, clip in enumerate(self._clips) for t in range(len(clip.masks))]
        for place in np.random.default_rng(0).permutation(len(anchors)):
            self._processes.submit(_propagate_everywhere, *anchors[place]).add_done_callback(self._keep)

    def close(self) -> None:
        """End the processes that `precompute` began."""
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)
            self._processes = None
        if self._folder is not None:
            self._folder.cleanup()

    def _keep(self, done: Future[_PropagatedClip]) -> None:
        """Keep the result of another process, while there is room."""
        try:
            propagated = done.result()
        except CancelledError:
            return
        except Exception as error:
            warnings.warn(
                f"A mask was not propagated in advance: {error!r}. It is propagated when needed.",
                stacklevel=1,
            )
            return
        processes = self._processes
        if len(self._found) + len(propagated) < self._found.limit:
            self._found.update(propagated)
        elif processes is not None:
            processes.shutdown(wait=False, cancel_futures=True)

    def window(
        self, clip: int, frames: NDArray[np.int_], known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Propagate the masks of a window's `known` ``(T,)`` frames to all its rising `frames` ``(T,)`` of a clip.

        Returns signed distances ``(T, H, W)``, and frames to the nearest known one; zeros and infinity where none is
        near.
        """
        masks, anchors = self._clips[clip].masks, np.unique(frames[known])
        distance = np.zeros((len(frames), *masks.shape[1:]), np.float32)
        away = np.full(len(frames), np.inf, np.float32)
        for place, t in enumerate(frames.tolist()):
            ends = sorted({anchor for anchor in neighbours(anchors, t) if anchor is not None})
            if t in ends:
                distance[place] = QUANTUM * _quanta(signed_distance(masks[t]))
                away[place] = 0
            elif ends:
                propagated = [self._propagated(clip, anchor, t) for anchor in ends]
                gaps = [abs(t - anchor) for anchor in ends]
                for share, (steps, _) in zip(
                    blend_weights([c[1] for c in propagated], gaps), propagated, strict=True
                ):
                    distance[place] += np.float32(share * QUANTUM) * steps
                away[place] = min(gaps)
        return distance, away

    def _propagated(self, clip: int, anchor: int, t: int) -> tuple[NDArray[np.int8], float]:
        """The mask of `anchor` at frame `t`: its signed distance in quanta, and the confidence in it."""
        found = self._found.get((clip, anchor, t))
        if found is None:
            made = self._propagate(clip, anchor, t)
            self._found.update(made)
            found = made[clip, anchor, t]
        return found

    def _propagate(self, clip: int, anchor: int, t: int) -> _PropagatedClip:
        """The mask of `anchor` at all frames up to `t`."""
        mask = self._clips[clip].masks[anchor] > 0
        guide = MaskGuide(self._clips[clip].frames.__getitem__, {anchor: mask}, self._motions[clip])
        step = 1 if t > anchor else -1
        ways = range(anchor + step, t + step, step)
        return {(clip, anchor, at): (_quanta(guide.distance(at)[0]), guide.confidence(at)) for at in ways}


_masks_here: PropagatedMasks
"""The masks of a process that `PropagatedMasks.precompute` started, of the same clips."""


def _file(folder: str, name: str, number: int) -> Path:
    return Path(folder) / f"{name}{number}.npy"


def _prepare_process(folder: str, clips: int) -> None:
    """Prepare one of the processes, which reads the clips from files that all of them share."""
    import cv2

    global _masks_here
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    pixels = [
        [np.load(_file(folder, name, number), mmap_mode="r") for name in ("frames", "masks")]
        for number in range(clips)
    ]
    _masks_here = PropagatedMasks([Clip(str(number), *both) for number, both in enumerate(pixels)])


def _end_with_parent() -> None:
    """End this process when the training run is killed, so that it does not wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _propagate_everywhere(clip: int, anchor: int) -> _PropagatedClip:
    """The mask of one frame at all frames that one window may hold."""
    last, found = len(_masks_here._clips[clip].masks) - 1, {}
    for t in (max(anchor - MAX_SPAN + 1, 0), min(anchor + MAX_SPAN - 1, last)):
        if t != anchor:
            found.update(_masks_here._propagate(clip, anchor, t))
    return found


def _quanta(distance: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.clip(np.rint(distance / QUANTUM), -127, 127).astype(np.int8)
