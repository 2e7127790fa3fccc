"""What corrected masks say of other frames without any learning: `vivim simulate` holds the tool against these."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.imaging.resize import resize_mask
from vivim.imaging.signed_distance import signed_distance
from vivim.propagation.mask_propagator import REACH
from vivim.propagation.optical_flow import Motion, followed, identity, read


def of_each_class(classes: int, fields: Callable[[int], NDArray]) -> NDArray[np.uint8]:
    """Label masks from what ``fields(label)`` gives, which is positive inside: the label that is most so."""
    stacked = np.stack([fields(label) for label in range(1, classes + 1)])
    return np.where(stacked.max(0) > 0, stacked.argmax(0) + 1, 0).astype(np.uint8)


def interpolate(masks: dict[int, NDArray], frames: int) -> NDArray[np.floating]:
    """Distances ``(frames, H, W)`` into the masks between known ones: mixed linearly, the ends held.

    `masks` maps a frame to its mask ``(H, W)``; there must be at least one.
    """
    known = sorted(masks)
    limit = float(max(masks[known[0]].shape))
    fields = {t: signed_distance(masks[t], limit) for t in known}
    out = np.empty((frames, *fields[known[0]].shape), np.float32)
    for t in range(frames):
        before = max((k for k in known if k <= t), default=known[0])
        after = min((k for k in known if k >= t), default=known[-1])
        share = 0.0 if before == after else (t - before) / (after - before)
        out[t] = (1 - share) * fields[before] + share * fields[after]
    return out


def propagate(
    masks: dict[int, NDArray], frames: int, motion: Motion, size: tuple[int, int]
) -> NDArray[np.floating]:
    """Distances ``(frames, H, W)`` into known masks carried along the optical flow, and nothing else.

    `masks` maps a frame to its mask ``(H, W)``. From both sides where there are two, mixed linearly in time; zeros
    beyond `vivim.propagation.mask_propagator.REACH` frames. `motion` sees the frames at `size`, height and width.
    """
    known = sorted(masks)
    height, width = masks[known[0]].shape
    weights = np.zeros(frames)
    out = np.zeros((frames, height, width), np.float32)
    for anchor, step in [(t, step) for t in known for step in (-1, 1)]:
        beyond = next((t for t in known[::step] if (t - anchor) * step > 0), None)
        stop = (frames if step > 0 else -1) if beyond is None else beyond
        ahead = range(anchor + step, anchor + step * (min(abs(stop - anchor) - 1, REACH) + 1), step)
        distance = signed_distance(resize_mask(masks[anchor].astype(np.uint8), size) > 0)
        for t, maps in zip(ahead, followed(motion, identity(size), ahead), strict=True):
            propagated = cv2.resize(read(distance, maps), (width, height), interpolation=cv2.INTER_LINEAR)
            out[t] += propagated / abs(t - anchor)
            weights[t] += 1 / abs(t - anchor)
    out /= np.maximum(weights, 1e-9)[:, None, None]
    for t in known:
        out[t] = signed_distance(masks[t])
    return out
