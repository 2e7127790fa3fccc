"""Confidence in a propagated mask, judged from the pictures alone.

Where a lesion moves slowly, a corrected mask propagated to the next frames is hard to beat. Where the picture jumps,
it is worthless and misleads the network. Two measures tell which it is without any true mask: how well the frame
correlates with the corrected one once the motion between them is undone, and what part of the pixels followed there
and back miss where they started. The guided logits count by that confidence, the unguided ones for the rest, see
`vivim.inference.fusion`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

LOW_CORRELATION, HIGH_CORRELATION = 0.3, 0.9
"""Correlation of two pictures from which a propagated mask counts at all, and from which it counts in full."""

MAX_ROUND_TRIP_ERROR = 3.0
"""Pixels by which a pixel followed there and back may miss its start without counting as lost."""

MARGIN = 12.0
"""Pixels around a lesion that are compared with it."""

MIN_PIXELS = 50
"""Pixels below which a lesion is too small to be compared by itself. The whole picture is compared instead."""


def confidence(correlation: float, lost: float) -> float:
    """Confidence in a propagated mask, in [0, 1], from the pictures' `correlation` and the `lost_fraction`."""
    similar = (correlation - LOW_CORRELATION) / (HIGH_CORRELATION - LOW_CORRELATION)
    return float(np.clip(similar, 0.0, 1.0) * np.sqrt(1.0 - lost))


def region_around(distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels ``(H, W)`` to compare: a lesion and its surroundings, from its signed distance ``(H, W)`` in pixels."""
    near: NDArray[np.bool_] = distance > -MARGIN
    return near if np.count_nonzero(near) >= MIN_PIXELS else np.ones_like(near)


def blur(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Remove the grain of a grey picture ``(H, W)`` before it is compared."""
    return np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2.0), np.float32)


def correlation(one: NDArray[np.float32], other: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Correlation of two pictures ``(H, W)`` over the pixels `where`, in [-1, 1]; 0 where either is constant."""
    a, b = one[where], other[where]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-3 else 0.0


def lost_fraction(back: NDArray[np.float32], start: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Part of the pixels `where` that end, ``(H, W, 2)`` `back`, over `MAX_ROUND_TRIP_ERROR` from their `start`."""
    missed = back[where] - start[where]
    return float((np.hypot(missed[:, 0], missed[:, 1]) > MAX_ROUND_TRIP_ERROR).mean())
