"""Baselines without any learning, which `vivim simulate` compares the tool with."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.imaging.resize import resize_mask
from vivim.imaging.signed_distance import blend, class_distances, signed_distance
from vivim.propagation.mask_propagator import REACH
from vivim.propagation.optical_flow import Motion, chain_flow, identity, sample


def interpolate(masks: Mapping[int, NDArray[np.uint8]], frames: int) -> NDArray[np.uint8]:
    """Label masks ``(frames, H, W)``: signed distances mixed linearly between known masks, the ends held.

    `masks` maps a frame to its label mask ``(H, W)``; there must be at least one.
    """
    known = sorted(masks)
    shape = masks[known[0]].shape
    distances = {t: class_distances(masks[t]) for t in known}
    out = np.empty((frames, *shape), np.uint8)
    for t in range(frames):
        before = max((k for k in known if k <= t), default=known[0])
        after = min((k for k in known if k >= t), default=known[-1])
        share = 0.0 if before == after else (t - before) / (after - before)
        out[t] = blend(distances[before], distances[after], share, shape)
    return out


def propagate(
    masks: Mapping[int, NDArray[np.uint8]], frames: int, motion: Motion, size: tuple[int, int], classes: int
) -> NDArray[np.uint8]:
    """Label masks ``(frames, H, W)``: known masks propagated along the optical flow, and nothing else.

    `masks` maps a frame to its label mask ``(H, W)``. Where there is a known frame on both sides, distances are mixed
    linearly in time; beyond `vivim.propagation.mask_propagator.REACH` frames nothing is found. `motion` sees the frames
    at `size`, height and width.
    """
    known = sorted(masks)
    height, width = masks[known[0]].shape
    labels = range(1, classes + 1)
    weights = np.zeros(frames)
    mixed = np.zeros((classes, frames, height, width), np.float32)
    for anchor, step in [(t, step) for t in known for step in (-1, 1)]:
        beyond = next((t for t in known[::step] if (t - anchor) * step > 0), None)
        stop = (frames if step > 0 else -1) if beyond is None else beyond
        ahead = range(anchor + step, anchor + step * (min(abs(stop - anchor) - 1, REACH) + 1), step)
        small = resize_mask(masks[anchor], size)
        distances = [signed_distance(small == label) for label in labels]
        for t, maps in zip(ahead, chain_flow(motion, identity(size), ahead), strict=True):
            for total, distance in zip(mixed, distances, strict=True):
                total[t] += cv2.resize(sample(distance, maps), (width, height)) / abs(t - anchor)
            weights[t] += 1 / abs(t - anchor)
    mixed /= np.maximum(weights, 1e-9)[:, None, None]
    found = np.where(mixed.max(0) > 0, mixed.argmax(0) + 1, 0).astype(np.uint8)
    for t in known:
        found[t] = masks[t]
    return found
