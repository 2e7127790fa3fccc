"""Where in the picture there is anything to see: the sector of an ultrasound scan, the circle of an endoscope.

Around it machines paint black, with letters, scales and logos. Content changes over time or has texture; the frame
around it is dark and stays. The largest connected area that is bright or moves, over a few frames, is the content.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.video.base import Video

Box = tuple[int, int, int, int]

FRAMES = 9
"""Frames looked at, spread over the video."""

SIDE = 256
"""Longer side of the pictures that are looked at, in pixels."""

SHADE = 0.06
"""What differs from the border by less than this, of the range of brightness, belongs to it."""

MOVES = 0.05
"""A part of which more than this share moves is content, not a bar or a logo."""

BESIDE = 0.1
"""Parts at least this large, of the largest, count too: a dark organ may divide the content."""

STILL = 0.015
"""A standard deviation over time above this, of the range of brightness, is movement."""

LEAST = 0.05
"""A content area smaller than this, of the picture, is not believed."""

GAP = 9
"""Dark gaps within the content up to this size, at `SIDE`, are bridged: shadows and vessels."""

THIN = 5
"""What is thinner than this, at `SIDE`, is letters or lines."""


def content_area(video: Video) -> Box:
    """Rectangle around what the video shows, without black borders, letters and scales.

    A DICOM file that says where its B-mode region lies is believed.

    Parameters
    ----------
    video : Video
        An opened video.

    Returns
    -------
    tuple of int
        ``(y0, x0, y1, x1)`` in pixels; `y1` and `x1` are not part of it. The whole picture where no border is found.

    Raises
    ------
    VideoError
        If a frame cannot be decoded.
    """
    height, width = video.shape[1:3]
    for region in getattr(video, "regions", ()):
        if region.kind == "tissue":
            return region.box
    times = sorted({round(t) for t in np.linspace(0, len(video) - 1, min(FRAMES, len(video)))})
    share = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    stack = np.stack([_small(video.frame(t), size) for t in times])
    parts = _parts(stack)
    found = _rectangle(*parts) if parts else None
    if found is None:
        return 0, 0, height, width
    y0, x0, y1, x1 = found
    scales = (height / size[1], width / size[0])
    return (
        max(0, int(np.floor(y0 * scales[0]))),
        max(0, int(np.floor(x0 * scales[1]))),
        min(height, int(np.ceil(y1 * scales[0]))),
        min(width, int(np.ceil(x1 * scales[1]))),
    )


def _small(frame: NDArray, size: tuple[int, int]) -> NDArray[np.float32]:
    """Brightest channel, shrunk."""
    grey = frame.max(axis=2) if frame.ndim == 3 else frame
    return np.asarray(cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _parts(stack: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """What differs from the border or moves, without thin things and small gaps, and what moves; None: no border.

    The border is one shade, that of most of the picture's edge: black, as a rule, white in some exports.
    """
    span = max(float(np.percentile(stack, 99.5)) - float(np.percentile(stack, 1)), 1e-6)
    median, moving = np.median(stack, axis=0), stack.std(axis=0) > STILL * span
    edge = np.concatenate([median[0], median[-1], median[:, 0], median[:, -1]])
    border = float(np.median(edge))
    if (np.abs(edge - border) <= SHADE * span).mean() < 0.5:
        return None
    lively = ((np.abs(median - border) > SHADE * span) | moving).astype(np.uint8)
    opened = cv2.morphologyEx(lively, cv2.MORPH_OPEN, _disc(THIN))
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(GAP)), np.uint8), moving


def _disc(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _rectangle(mask: NDArray[np.uint8], moving: NDArray[np.bool_]) -> Box | None:
    """Rectangle around the parts that are large and, in a video that moves, move; None if they are too small."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    moved = np.bincount(labels[moving], minlength=count) / np.maximum(areas, 1)
    alive = moved > MOVES if (moved[1:] > MOVES).any() else np.ones(count, bool)
    alive[0] = False
    if not alive.any():
        return None
    chosen = alive & (areas >= BESIDE * areas[alive].max())
    if areas[chosen].sum() < LEAST * mask.size:
        return None
    rows, columns = np.nonzero(np.isin(labels, np.flatnonzero(chosen)))
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1
