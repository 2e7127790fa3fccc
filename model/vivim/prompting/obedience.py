"""Make sure that a mask obeys its prompts: prompted places are as said, and what is far from the newest stays.

A trained head does most of this by itself. Here it is made certain, on the network's grid and smoothly, so that no
single pixels stand out.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.prompting.grid import distance_to

MARGIN = 1.0
"""Logit that a prompted place has at least."""

FREE, FIXED = 64.0, 128.0
"""Nearer to a new prompt than the first, everything may change; farther than the second, nothing; in cells of a grid
of 256 cells a side."""

NEAR = 16.0
"""A region that changes stays as it was unless it comes so near to a new prompt."""


def keep_far(
    logits: NDArray[np.float32], before: NDArray[np.float32], newest: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Undo what has changed far from the newest prompts.

    `logits`, `before`: ``(h, w)`` after and before the newest prompts. `newest`: ``(h, w)`` cells of the
    newest prompts, at least one.
    """
    scale = logits.shape[0] / 256
    away = distance_to(newest)
    weight = np.clip((FIXED * scale - away) / ((FIXED - FREE) * scale), 0, 1)
    mixed = before + weight * (logits - before)
    changed = ((mixed > 0) != (before > 0)).astype(np.uint8)
    count, regions = cv2.connectedComponents(changed, connectivity=8)
    near = np.zeros(count, bool)
    near[np.unique(regions[away <= NEAR * scale])] = True
    undone = (changed > 0) & ~near[regions]
    return np.where(undone, before, mixed).astype(np.float32)


def obey(
    logits: NDArray[np.float32], lesion: NDArray[np.bool_], other: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Raise logits ``(h, w)`` smoothly at cells said to be lesion, and lower them at those said not to be."""
    for places, sign in ((lesion, 1.0), (other, -1.0)):
        missing = np.where(places, np.maximum(0, MARGIN - sign * logits), 0).astype(np.float32)
        if missing.any():
            wide = cv2.dilate(missing, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
            spread = np.maximum(missing, cv2.GaussianBlur(wide, (0, 0), 1.5))
            logits = (logits + sign * spread).astype(np.float32)
    certain = np.where(lesion, np.maximum(logits, MARGIN), logits)
    return np.where(other, np.minimum(certain, -MARGIN), certain).astype(np.float32)
