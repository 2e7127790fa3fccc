"""The video with its masks tinted and outlined, as an mp4 that every player shows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.area import Area
from vivim.errors import ExportError
from vivim.export.work import Work
from vivim.preprocess import resize_frame
from vivim.settings import settings
from vivim.video.write import encoded, even

ALPHA = 0.35
DEFAULT_FPS = 20.0
CRF = 10
"""Quality of the encoding: no loss that the eye finds."""
FRAME = (160, 160, 160)
"""Colour of the line around the part of the picture that models work on."""


def tinted(frame: NDArray, mask: NDArray, colors: Sequence[str]) -> NDArray[np.uint8]:
    """RGB picture of a frame with the mask tinted and its outline drawn, each class in its colour.

    Parameters
    ----------
    frame : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16.
    mask : ndarray
        ``(H, W)`` of classes; 0 is background.
    colors : sequence of str
        Of the classes 1, 2, ... as ``#rrggbb``; further classes begin again with the first.
    """
    import cv2

    rgb = resize_frame(frame, frame.shape[:2]).copy()
    for label in np.unique(mask[mask > 0]):
        tint = np.array(list(bytes.fromhex(colors[(int(label) - 1) % len(colors)][1:])), np.float32)
        inside = mask == label
        rgb[inside] = ((1 - ALPHA) * rgb[inside] + ALPHA * tint).astype(np.uint8)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, outlines, -1, tint.tolist(), _width(rgb))
    return rgb


def framed(rgb: NDArray[np.uint8], area: Area | None) -> NDArray[np.uint8]:
    """The same picture with a grey line just outside of an area, so that one sees where no model looked."""
    import cv2

    if area is not None:
        y0, x0, y1, x1 = area
        for k in range(1, _width(rgb) + 1):
            cv2.rectangle(rgb, (x0 - k, y0 - k), (x1 + k - 1, y1 + k - 1), FRAME)
    return rgb


def _width(rgb: NDArray[np.uint8]) -> int:
    """Width of a line that shows in a picture of this size, in pixels."""
    return max(1, min(rgb.shape[:2]) // 360)


def write_overlay(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one picture a frame at the video's rate, 20 a second if it has none; yields how many are done."""
    yield from encoded(path, _pictures(work), work.source.fps or DEFAULT_FPS, CRF)
    _check_finished(path)


def _pictures(work: Work) -> Iterator[NDArray[np.uint8]]:
    colors = settings().colors()
    for t in work.frames:
        yield even(framed(tinted(work.source.video.frame(t), work.mask(t), colors), work.source.area))


def _check_finished(path: Path) -> None:
    """Make sure that the encoder got to the end: the ffmpeg program closes silently on a full disk.

    Raises
    ------
    ExportError
        If the file is no whole video.
    """
    import av

    try:
        with av.open(str(path)) as container:
            frames = container.streams.video[0].frames
    except av.error.FFmpegError:
        frames = 0
    if not frames:
        raise ExportError(
            "The overlay video could not be finished, most likely because the disk is full. Free some space and "
            "export again."
        )
