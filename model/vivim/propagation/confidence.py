"""How far to trust masks carried along the motion, frame by frame: the pictures themselves tell.

Where a lesion creeps, a corrected mask carried to the next frames is hard to beat; where the picture jumps, it is
worthless and misleads the network. Two things show which it is, without any true mask: whether a frame looks like the
corrected one once the motion between them is undone, and whether pixels followed there and back arrive where they set
out. What the network says with guidance counts as much as they allow, what it says without counts for the rest; and
all that it says counts by how familiar it is with the video, `vivim.inference.model_reliability`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

UNLIKE, CORRELATION_EXPONENT = 0.3, 0.9
"""Correlation of two pictures from which a carried mask counts at all, and from which it counts in full."""

ASTRAY = 3.0
"""Pixels by which a pixel followed there and back may miss where it set out."""

AROUND = 12.0
"""Pixels around a lesion that are looked at with it."""

FEWEST = 50
"""Pixels below which a lesion is too small to be looked at by itself: the whole picture is."""


def confidence(correlation: float, lost: float) -> float:
    """How far to trust a carried mask, in [0, 1].

    Parameters
    ----------
    likeness : float
        `correlation` of the two pictures.
    lost : float
        Part of the pixels that go astray, `lost`.
    """
    return float(
        np.clip((correlation - UNLIKE) / (CORRELATION_EXPONENT - UNLIKE), 0.0, 1.0) * np.sqrt(1.0 - lost)
    )


def around(distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where to look, ``(H, W)``: a lesion and what is around it, given by its signed distance ``(H, W)`` in pixels."""
    near: NDArray[np.bool_] = distance > -AROUND
    return near if np.count_nonzero(near) >= FEWEST else np.ones_like(near)


def softened(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A grey picture ``(H, W)`` without its grain, as `correlation` compares them."""
    return np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2.0), np.float32)


def correlation(one: NDArray[np.float32], other: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Correlation of two pictures ``(H, W)`` over the pixels `where`, in [-1, 1]; 0 where either is even."""
    a, b = one[where], other[where]
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-3 else 0.0


def lost(back: NDArray[np.float32], home: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Part of the pixels `where` that end more than `ASTRAY` pixels from home.

    Parameters
    ----------
    back, home : ndarray
        ``(H, W, 2)`` float32: where each pixel arrived when it was followed there and back, and where it set out.
    where : ndarray
        ``(H, W)`` bool.
    """
    missed = back[where] - home[where]
    return float((np.hypot(missed[:, 0], missed[:, 1]) > ASTRAY).mean())
