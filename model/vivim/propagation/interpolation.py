"""The mask between two corrected ones, carried along the motion of the picture from both sides.

Signed distances (Raya and Udupa 1990) of both masks follow dense optical flow to the frame in question and are mixed
there. Flow is worked out on small pictures; the masks keep the resolution of the video.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.imaging.morphology import _around
from vivim.imaging.resize import resize_frame
from vivim.imaging.signed_distance import signed_distance
from vivim.propagation.drift_correction import registered_along
from vivim.propagation.mask_propagator import REACH
from vivim.propagation.optical_flow import Motion, identity, read

FLOW_SIZE = (256, 256)
"""Height and width at which motion is followed."""

Mask = NDArray[np.uint8]


def along_motion(
    frame: Callable[[int], NDArray[np.uint8]],
    before: tuple[int, Mask],
    after: tuple[int, Mask],
    t: int,
    stop: threading.Event | None = None,
) -> Mask | None:
    """The mask of frame `t` from one before it and one after it.

    Parameters
    ----------
    frame : callable
        ``frame(t)`` gives RGB uint8 ``(H, W, 3)`` of the video.
    before, after : tuple of int and ndarray
        Frame number and mask ``(H, W)`` uint8 of classes; the numbers enclose `t`.
    stop : threading.Event, optional
        Set to give up.

    Returns
    -------
    ndarray or None
        ``(H, W)`` uint8; None if stopped, or if either frame is more than `vivim.propagation.mask_propagator.REACH`
        frames away, where
        motion can no longer be followed.
    """
    if max(t - before[0], after[0] - t) > REACH:
        return None
    motion = Motion(lambda number: resize_frame(frame(number), FLOW_SIZE))
    propagated = []
    for anchor, mask in (before, after):
        maps = _maps_between(motion, t, anchor, stop)
        if maps is None:
            return None
        propagated.append(_propagated(mask, _enlarged(maps, mask.shape)))
    share = (t - before[0]) / (after[0] - before[0])
    out = np.zeros_like(before[1])
    best = np.zeros(out.shape, np.float32)
    for number in sorted(propagated[0].keys() | propagated[1].keys()):
        far = np.float32(-max(out.shape))
        mixed = (1 - share) * propagated[0].get(number, far) + share * propagated[1].get(number, far)
        out[mixed > best] = number
        np.maximum(best, mixed, out=best)
    return out


def _maps_between(
    motion: Motion, t: int, anchor: int, stop: threading.Event | None
) -> NDArray[np.float32] | None:
    """Where each pixel of frame `t` lies in frame `anchor`, ``(*FLOW_SIZE, 2)``; None if stopped."""
    maps = identity(FLOW_SIZE)
    step = 1 if t > anchor else -1
    onward = registered_along(motion, anchor, maps, range(anchor + step, t + step, step))
    while stop is None or not stop.is_set():
        further = next(onward, None)
        if further is None:
            return maps
        maps = further
    return None


def _propagated(mask: Mask, maps: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
    """Signed distance of each class, read at `maps` ``(H, W, 2)``."""
    reach = float(max(mask.shape))
    return {
        int(number): read(signed_distance(mask == number, reach), maps)
        for number in np.unique(mask)
        if number
    }


def _enlarged(maps: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Sampling positions at another size: displacements scaled with the picture, positions added anew."""
    (rows, columns), (height, width) = maps.shape[:2], shape
    moved = (maps - identity((rows, columns))) * np.array([width / columns, height / rows])
    moved = cv2.resize(moved.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.add(moved, identity((height, width)))


def between(before: Mask, after: Mask, share: float) -> Mask:
    """The mask between two others: their signed distances, mixed linearly.

    Parameters
    ----------
    before, after : ndarray
        Masks of one size.
    share : float
        How far from `before`, 0, to `after`, 1.
    """
    out = np.zeros_like(before)
    reach = float(max(before.shape))
    for number in np.union1d(before, after):
        if number:
            first, last = before == number, after == number
            part = _around(first | last)
            mixed = (1 - share) * signed_distance(first[part], reach)
            out[part][mixed + share * signed_distance(last[part], reach) > 0] = number
    return out
