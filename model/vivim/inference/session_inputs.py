"""Inputs of the network from a session: frames at its size, and guidance by corrected masks."""

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vivim.errors import FrameError, VideoError
from vivim.imaging.resize import resize_frame, resize_mask
from vivim.imaging.roi import crop
from vivim.inference.feature_cache import cache_of
from vivim.network.preprocessing import normalise, stack_frames
from vivim.propagation.mask_propagator import MaskGuide
from vivim.propagation.optical_flow import Motion
from vivim.session import Session
from vivim.utils.cancellation import check
from vivim.utils.lru_cache import LRUCache

PROPAGATED_AT_ONCE = 8
"""Corrected frames to which others are propagated side by side, on as many cores."""

FRAMES_KEPT = 96
"""Resized frames kept in memory."""


class ResizedFrames:
    """The area of a session's frames at the network's input size, those used last kept in memory."""

    def __init__(self, session: Session, size: tuple[int, int], stop: threading.Event | None = None) -> None:
        self._video, self._area = session.video, session.area
        self._size, self._stop = size, stop
        self._frames: LRUCache[int, NDArray[np.uint8]] = LRUCache(FRAMES_KEPT)
        self.lost: set[int] = set()
        """Frames of which another was returned, because they cannot be decoded. A mask of them would be a guess."""
        self.cache = cache_of(session, (size, self._area))
        self.motion = Motion(self, self.cache.flows)

    def __call__(self, t: int) -> NDArray[np.uint8]:
        """Return frame `t` as RGB uint8 ``(H, W, 3)``, for any thread.

        Where it is damaged, which is noted in `lost`, the nearest whole one is returned, so that the network sees no
        gap.
        """
        check(self._stop)
        found = self._frames.get(t)
        if found is None:
            found = resize_frame(crop(self._whole(t), self._area), self._size)
            self._frames.put(t, found)
        return found

    def _whole(self, t: int) -> NDArray:
        for away in range(len(self._video)):
            for near in {t - away, t + away}:
                if near not in self.lost and 0 <= near < len(self._video):
                    check(self._stop)
                    try:
                        return self._video.frame(near)
                    except FrameError:
                        self.lost.add(near)
        raise VideoError(f"No frame of {self._video.path.name} can be decoded. Copy it anew.")


def guide_of(
    session: Session, frames: ResizedFrames, size: tuple[int, int], leave_out: int | None = None
) -> MaskGuide:
    """Guidance from all corrected and accepted frames of a session, or all but one.

    It is one plane, whatever the class. Guides without different frames can be asked side by side.
    """
    masks = _CorrectedMasks(session, size, leave_out)
    return MaskGuide(frames, masks, frames.motion, frames.cache.confidences)


def resized_mask(session: Session, t: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The area of a frame's label mask at the network's input size."""
    return resize_mask(crop(np.asarray(session.masks[t]), session.area), size)


class _CorrectedMasks(Mapping[int, NDArray[np.bool_]]):
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
