"""What the network is given of a session: frames at its size, and what corrected masks say of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.imaging.resize import resize_frame, resize_mask
from vivim.imaging.roi import inside
from vivim.inference.feature_cache import cache_of
from vivim.network.preprocessing import normalise, stack_frames
from vivim.propagation.mask_propagator import MaskGuide
from vivim.propagation.optical_flow import Motion
from vivim.utils.cancellation import check

if TYPE_CHECKING:
    from vivim.session import Session

PROPAGATED_AT_ONCE = 8
"""Corrected frames to which others are carried side by side, on as many cores."""


class ResizedFrames:
    """The area of a session's frames at the network's input size, the latest of them kept."""

    def __init__(
        self, session: Session, size: tuple[int, int], kept: int = 96, stop: threading.Event | None = None
    ) -> None:
        self._video, self._area = session.video, session.area
        self._size, self._kept, self._stop = size, kept, stop
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()
        self.recall = cache_of(session, (size, self._area))
        self.motion = Motion(self, self.recall.flows)

    def __call__(self, t: int) -> NDArray[np.uint8]:
        """Frame `t` as RGB uint8 ``(H, W, 3)``, for any thread; raises `Stopped` where the work was told to stop."""
        check(self._stop)
        with self._lock:
            found = self._cache.pop(t, None)
        if found is None:
            found = resize_frame(inside(self._video.frame(t), self._area), self._size)
        with self._lock:
            self._cache[t] = found
            if len(self._cache) > self._kept:
                self._cache.popitem(last=False)
        return found


def guide_of(session: Session, frames: ResizedFrames, size: tuple[int, int]) -> MaskGuide:
    """Guidance from all corrected and accepted frames of a session.

    The guide is one plane: where anything is, whatever its class.
    """
    return MaskGuide(frames, _Corrected(session, size, None), frames.motion, frames.recall.confidences)


def guide_without(session: Session, frames: ResizedFrames, size: tuple[int, int], t: int) -> MaskGuide:
    """`guide_of` all corrected frames but `t`; guides without different frames can be asked side by side."""
    return MaskGuide(frames, _Corrected(session, size, t), frames.motion, frames.recall.confidences)


def resized_mask(session: Session, t: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The area of a frame's label mask at the network's input size."""
    return resize_mask(inside(np.asarray(session.masks[t]), session.area), size)


class _Corrected(Mapping[int, NDArray[np.bool_]]):
    """Masks of a session's corrected and accepted frames at the network's size, each read when asked for."""

    def __init__(self, session: Session, size: tuple[int, int], leave_out: int | None) -> None:
        self._session, self._size = session, size
        self._frames = {t: None for t in session.vouched_frames() if t != leave_out}

    def __getitem__(self, t: int) -> NDArray[np.bool_]:
        if t not in self._frames:
            raise KeyError(t)
        return resized_mask(self._session, t, self._size) > 0

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def window_inputs(
    frames: ResizedFrames, window: Sequence[int], guide: MaskGuide | None, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Network inputs of one window: ``(1, T, 3, H, W)`` and, with a guide, ``(1, T, 2, H, W)``."""
    x = normalise(stack_frames([frames(t) for t in window]).to(device))[None]
    return x, None if guide is None else guide.planes(list(window)).to(device)[None]
