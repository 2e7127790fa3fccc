"""Interpolate the mask between two corrected ones, propagated along the motion of the picture from both sides.

Flow is computed on small pictures. The masks keep the resolution of the video.
"""

import threading
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.imaging.resize import resize_frame
from vivim.imaging.signed_distance import blend, class_distances
from vivim.propagation.drift_correction import register_along
from vivim.propagation.mask_propagator import REACH
from vivim.propagation.optical_flow import Motion, identity, sample

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
    """Interpolate the mask of frame `t`, ``(H, W)`` uint8, from one before it and one after it (number and mask).

    ``frame(t)`` gives RGB uint8 ``(H, W, 3)``. None if `stop` is set, or if either frame is more than `REACH` frames
    away, where motion can no longer be followed.
    """
    if max(t - before[0], after[0] - t) > REACH:
        return None
    motion = Motion(lambda number: resize_frame(frame(number), FLOW_SIZE))
    propagated = []
    for anchor, mask in (before, after):
        step = 1 if t > anchor else -1
        found = identity(FLOW_SIZE)
        for maps in register_along(motion, anchor, found, range(anchor + step, t + step, step)):
            if stop is not None and stop.is_set():
                return None
            found = maps
        maps = _enlarged(found, mask.shape)
        propagated.append(
            {label: sample(distance, maps) for label, distance in class_distances(mask).items()}
        )
    share = (t - before[0]) / (after[0] - before[0])
    return blend(propagated[0], propagated[1], share, before[1].shape)


def _enlarged(maps: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Sampling positions at another size: displacements scaled with the picture, positions added anew."""
    (rows, columns), (height, width) = maps.shape[:2], shape
    moved = (maps - identity((rows, columns))) * np.array([width / columns, height / rows])
    moved = cv2.resize(moved.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.add(moved, identity((height, width)))
