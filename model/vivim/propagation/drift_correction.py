"""Correct the drift of chained optical flow by registering each frame to the one that pixels are followed from.

Each step along the flow adds an error, and over many frames a propagated mask slides off its lesion. Comparing the last
frame with the first one, moved by the flow so far, shows the motion that is left. Where the picture jumped, the pixels
were lost, and only a search between both frames finds them again.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vivim.propagation.confidence import blur, correlation
from vivim.propagation.optical_flow import Motion, flow_of_thread, flows_of, identity, sample

RESIDUAL_STEP = 0.5
"""Part of the motion left that is taken away. On the next frame what remains is seen again, noise is not."""

CORRELATION_GAIN = 0.07
"""Correlation with the first frame that a new search must win over the followed pixels to be used instead.

In ultrasound, a search between frames far apart matches grain. It wins by little and is wrong."""


def register_along(
    motion: Motion, anchor: int, maps: NDArray[np.float32], frames: range
) -> Iterator[NDArray[np.float32]]:
    """Yield where each pixel of each of `frames` lies in `anchor`, ``(H, W, 2)``, registered to it at each frame.

    `maps` says the same of the frame before `frames`, which are neighbours in one direction.
    """
    first, start = motion.grey(anchor), identity(maps.shape[:2])
    first_blurred = blur(first)
    for t, flow in zip(frames, flows_of(motion, [(t, t - frames.step) for t in frames]), strict=True):
        maps = _registered(first, first_blurred, motion.grey(t), sample(maps, start + flow))
        yield maps


def _registered(
    first: NDArray[np.uint8],
    first_blurred: NDArray[np.float32],
    last: NDArray[np.uint8],
    maps: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Where each pixel of `last` lies in `first`, without the drift that `maps` have gathered."""
    last_blurred, everywhere = blur(last), np.ones(last.shape, bool)
    start, flow = identity(last.shape), flow_of_thread()

    def correlation_at(maps: NDArray[np.float32]) -> float:
        return correlation(sample(first_blurred, maps), last_blurred, everywhere)

    residual = flow(last, sample(first, maps))
    maps = sample(maps, start + np.float32(RESIDUAL_STEP) * residual)
    reached = correlation_at(maps)
    if reached > 1 - CORRELATION_GAIN:
        return maps  # no search can win by so much
    found = start + flow(last, first, maps - start)
    return found if correlation_at(found) > reached + CORRELATION_GAIN else maps
