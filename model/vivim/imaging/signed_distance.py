"""Signed distance to the outline of a mask. Needs no PyTorch, so that opening a video does not load it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 32.0
"""Signed distances are cut at this many pixels."""


def signed_distance(mask: NDArray, limit: float = MAX_DISTANCE) -> NDArray[np.float32]:
    """Signed Euclidean distance to the outline of a mask ``(H, W)``, in pixels, positive inside.

    Parameters
    ----------
    mask : ndarray
        ``(H, W)``; nonzero is inside.
    limit : float
        Distances are cut at plus and minus this; an empty mask is ``-limit`` everywhere, a full one ``limit``.
    """
    import cv2

    inside = np.ascontiguousarray(mask > 0, dtype=np.uint8)
    if not inside.any():
        return np.full(mask.shape, -limit, np.float32)
    if inside.all():
        return np.full(mask.shape, limit, np.float32)
    into = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    out = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    signed = np.where(inside > 0, into - 0.5, 0.5 - out)
    return np.clip(signed, -limit, limit).astype(np.float32)
