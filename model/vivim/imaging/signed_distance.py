"""Signed distance to the outline of a mask, and masks blended by it.

Needs no PyTorch, so that opening a video does not load it.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 32.0
"""Signed distances are clipped at this many pixels."""


def signed_distance(mask: NDArray, limit: float = MAX_DISTANCE) -> NDArray[np.float32]:
    """Signed distance to the outline of a mask ``(H, W)`` in pixels, positive inside, clipped at `limit` either way."""
    inside = np.ascontiguousarray(mask > 0, dtype=np.uint8)
    if not inside.any():
        return np.full(mask.shape, -limit, np.float32)
    if inside.all():
        return np.full(mask.shape, limit, np.float32)
    into = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    out = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    signed = np.where(inside > 0, into - 0.5, 0.5 - out)
    return np.clip(signed, -limit, limit).astype(np.float32)


def class_distances(mask: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
    """Signed distance ``(H, W)`` of every class in a label mask ``(H, W)``, clipped at its longer side."""
    limit = float(max(mask.shape))
    return {int(label): signed_distance(mask == label, limit) for label in np.unique(mask[mask > 0])}


def blend(
    before: Mapping[int, NDArray[np.float32]],
    after: Mapping[int, NDArray[np.float32]],
    share: float,
    shape: tuple[int, ...],
) -> NDArray[np.uint8]:
    """Label mask between two others: their signed distances, mixed linearly (Raya and Udupa 1990).

    Each pixel has the class that lies deepest inside there at `share` of the way, 0 where none does. A class that only
    one side has is far outside everywhere on the other.
    """
    out, deepest = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    far = np.float32(-max(shape))
    for label in sorted(before.keys() | after.keys()):
        mixed = (1 - share) * before.get(label, far) + share * after.get(label, far)
        out[mixed > deepest] = label
        np.maximum(deepest, mixed, out=deepest)
    return out


def between(before: NDArray[np.uint8], after: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Label mask ``(H, W)`` uint8 at `share` of the way from one, 0, to another, 1; see `blend`."""
    return blend(class_distances(before), class_distances(after), share, before.shape)
