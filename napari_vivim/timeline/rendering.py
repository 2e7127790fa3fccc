"""What a timeline paints, column of pixels by column: 20,000 frames cost what 200 do. NumPy in, pictures out."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QColor, QImage
from vivim.session import STATUS_NAMES

STATUS_COLORS = {"empty": "#4a515b", "proposed": "#e3a73b", "corrected": "#26c878", "accepted": "#4a9eff"}
STATUS_HEIGHTS = {"empty": 1, "proposed": 2, "accepted": 3, "corrected": 4}
"""Quarters of the bars' height: colours alone do not tell statuses apart for everybody."""
STATUS_GLYPHS = {name: "▂▄▆█"[height - 1] for name, height in STATUS_HEIGHTS.items()}
"""The bars as text, in a legend."""


def columns(values: NDArray, first: float, last: float, width: int) -> NDArray:
    """The highest value in each of `width` columns, which show the frames from `first` up to `last`.

    Parameters
    ----------
    values : ndarray
        ``(T,)``, one a frame; NaN counts only where all of a column are.
    first, last : float
        The range shown, within [0, T]; where a frame is wider than a column it fills several.

    Returns
    -------
    ndarray
        ``(width,)`` of the same type. The highest, so that no corrected frame and no peak of uncertainty disappears.
    """
    if not len(values) or width < 1:
        return np.zeros(0, values.dtype)
    at = first + np.arange(width) * ((last - first) / width)
    begin = np.clip(at.astype(np.intp), 0, len(values) - 1)
    if last - first <= width:
        return values[begin]
    end = int(np.clip(np.ceil(last), begin[-1] + 1, len(values)))
    return np.fmax.reduceat(values[:end], begin)


def status_bars(codes: NDArray[np.uint8]) -> QImage:
    """Bars of statuses ``(width,)``, four pixels high, to be stretched."""
    colors = np.array([QColor(STATUS_COLORS[name]).rgba() for name in STATUS_NAMES], np.uint32)
    heights = np.array([STATUS_HEIGHTS[name] for name in STATUS_NAMES])
    filled = np.arange(4, 0, -1)[:, None] <= heights[codes]
    return _image(np.where(filled, colors[codes], np.uint32(0)))


def filled_curve(shares: NDArray[np.floating], height: int, color: QColor) -> QImage:
    """The area under a curve of `shares` ``(width,)`` in [0, 1], as a picture `height` pixels high. NaN is a gap."""
    tops = height * (1 - np.nan_to_num(shares, nan=-1.0))
    filled = np.arange(height)[:, None] >= np.floor(tops)
    return _image(np.where(filled, _premultiplied(color), np.uint32(0)))


def runs(values: NDArray[np.floating]) -> Iterator[NDArray[np.intp]]:
    """Indices of every stretch without NaN, in order."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        yield from np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)


def _premultiplied(color: QColor) -> np.uint32:
    alpha = color.alpha() / 255
    red, green, blue = (round(c * alpha) for c in (color.red(), color.green(), color.blue()))
    return np.uint32(color.alpha() << 24 | red << 16 | green << 8 | blue)


def _image(pixels: NDArray) -> QImage:
    height, width = pixels.shape
    data = pixels.astype(np.uint32).tobytes()
    return QImage(data, width, height, width * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()
