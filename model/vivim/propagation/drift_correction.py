"""Pixels followed from frame to frame drift; here they are set right by a look at the frame they set out from.

Each step along the flow adds an error, and over many frames a carried mask slides off its lesion. The first and the
last picture, compared with each other, show how far: where pixels were followed about right, a little motion is left
between the last picture and the first one moved there; where the picture jumped, they were lost, and only a search
between both pictures finds them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.propagation.confidence import correlation, softened
from vivim.propagation.optical_flow import Motion, flow_of_thread, flows_of, identity, read

PART = 0.5
"""Part of the motion left that is taken away: on the next frame what remains is seen again, noise is not."""

CORRELATION_GAIN = 0.07
"""Correlation with the first picture that a new search must win over what was followed, to be believed instead.

In ultrasound, a search between pictures many frames apart finds likeness in grain: it wins by little and is wrong."""


def registered_along(
    motion: Motion, anchor: int, maps: NDArray[np.float32], ahead: range
) -> Iterator[NDArray[np.float32]]:
    """Sampling positions carried on from the frame before `ahead`, set right at each frame.

    Parameters
    ----------
    motion : Motion
        The video's.
    anchor : int
        The frame that pixels are followed from.
    maps : ndarray
        ``(H, W, 2)`` float32: where each pixel of the frame before `ahead` lies in `anchor`.
    ahead : range
        Frames to follow them to, neighbours, in one direction.

    Yields
    ------
    ndarray
        ``(H, W, 2)`` float32: where each pixel of the next frame lies in `anchor`.
    """
    home, first = identity(maps.shape[:2]), _Picture.of(motion.grey(anchor))
    for t, flow in zip(ahead, flows_of(motion, [(t, t - ahead.step) for t in ahead]), strict=True):
        maps = _registered(first, _Picture.of(motion.grey(t)), read(maps, home + flow))
        yield maps


@dataclass(frozen=True)
class _Picture:
    """One frame as it is compared with others."""

    grey: NDArray[np.uint8]
    softened: NDArray[np.float32]

    @classmethod
    def of(cls, grey: NDArray[np.uint8]) -> _Picture:
        return cls(grey, softened(grey))

    def moved(self, maps: NDArray[np.float32]) -> NDArray[np.uint8]:
        x, y = maps[..., 0], maps[..., 1]
        return np.asarray(
            cv2.remap(self.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def alike(self, last: _Picture, maps: NDArray[np.float32]) -> float:
        """`correlation` of another picture and this one moved there, everywhere."""
        return correlation(read(self.softened, maps), last.softened, np.ones(last.grey.shape, bool))


def _registered(first: _Picture, last: _Picture, maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where each pixel of `last` lies in `first`, without the drift that `maps` have gathered."""
    home, flow = identity(last.grey.shape), flow_of_thread()
    left = flow(last.grey, first.moved(maps))
    maps = read(maps, home + np.float32(PART) * left)
    reached = first.alike(last, maps)
    if reached > 1 - CORRELATION_GAIN:
        return maps  # no search can win by so much
    found = home + flow(last.grey, first.grey, maps - home)
    return found if first.alike(last, found) > reached + CORRELATION_GAIN else maps
