"""Outlines of a mask on a small picture, each class in its colour. NumPy in, NumPy out; any thread."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from vivim.settings import settings


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.uint8], width: int = 1) -> NDArray[np.uint8]:
    """A copy of a picture with the outline of every class on it.

    Parameters
    ----------
    picture : ndarray
        ``(h, w, 3)`` uint8.
    mask : ndarray
        ``(H, W)`` uint8, 0 for background and 1, 2, ... for the classes; of any size.
    width : int
        Of the lines, in pixels of the picture.
    """
    size = picture.shape[1], picture.shape[0]
    shown, colors = np.ascontiguousarray(picture).copy(), settings().colors()
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    for label in np.unique(small[small > 0]).tolist():
        inside = (small == label).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        color = bytes.fromhex(colors[(label - 1) % len(colors)][1:])
        cv2.drawContours(shown, outlines, -1, tuple(color), width, cv2.LINE_AA)
    return shown
