"""Draw masks over pictures: tints and outlines."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.imaging.resize import resize_frame
from vivim.imaging.roi import Area
from vivim.settings import settings

ALPHA = 0.35
AREA_COLOUR = (160, 160, 160)
"""Colour of the line around the part of the picture that models work on."""


def tinted(frame: NDArray, mask: NDArray, colors: Sequence[str]) -> NDArray[np.uint8]:
    """RGB picture of a frame with the mask tinted and its outline drawn, each class in its colour.

    `colors` are those of the classes 1, 2, ... as ``#rrggbb``; further classes begin again with the first.
    """
    rgb = resize_frame(frame, frame.shape[:2]).copy()
    for label in np.unique(mask[mask > 0]).tolist():
        inside, color = mask == label, _rgb_of(label, colors)
        rgb[inside] = ((1 - ALPHA) * rgb[inside] + ALPHA * np.array(color, np.float32)).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, outlines, -1, color, _width(rgb))
    return rgb


def framed(rgb: NDArray[np.uint8], area: Area | None) -> NDArray[np.uint8]:
    """Draw a grey line just outside of an area into a picture, to show where no model looked."""
    if area is not None:
        y0, x0, y1, x1 = area
        for k in range(1, _width(rgb) + 1):
            cv2.rectangle(rgb, (x0 - k, y0 - k), (x1 + k - 1, y1 + k - 1), AREA_COLOUR)
    return rgb


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.uint8], width: int = 1) -> NDArray[np.uint8]:
    """A copy of a picture ``(h, w, 3)`` with the outlines of a mask of any size on it, in the settings' colours."""
    shown, colors = picture.copy(order="C"), settings().colors()
    small = cv2.resize(mask, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_NEAREST)
    for label in np.unique(small[small > 0]).tolist():
        inside = (small == label).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(shown, outlines, -1, _rgb_of(label, colors), width, cv2.LINE_AA)
    return shown


def _rgb_of(label: int, colors: Sequence[str]) -> tuple[int, ...]:
    """Colour of a class, 0 to 255 each."""
    return tuple(bytes.fromhex(colors[(label - 1) % len(colors)][1:]))


def _width(rgb: NDArray[np.uint8]) -> int:
    """Width of a line that shows in a picture of this size, in pixels."""
    return max(1, min(rgb.shape[:2]) // 360)
