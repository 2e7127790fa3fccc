"""The video with its masks tinted and outlined, as an mp4 that every player shows."""

from collections.abc import Generator, Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vivim.errors import ExportError, FrameError
from vivim.imaging.drawing import framed, tinted
from vivim.io.mask_source import Work
from vivim.settings import settings
from vivim.video.writer import encoded, even

DEFAULT_FPS = 20.0
CRF = 10
"""Quality of the encoding: no loss that the eye finds."""


def write_overlay(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one picture a frame at the video's rate, 20 a second if it has none. Yields how many are done."""
    rate, aspect = work.source.fps or DEFAULT_FPS, work.source.video.pixel_aspect
    yield from encoded(path, _pictures(work), rate, CRF, pixel_aspect=aspect)
    _check_finished(path)


def _pictures(work: Work) -> Iterator[NDArray[np.uint8]]:
    colors = settings().colors()
    for t in work.frames:
        try:
            picture = work.source.video.frame(t)
        except FrameError:  # black, so that the others keep their places
            picture = np.zeros((*work.size, 3), np.uint8)
        yield even(framed(tinted(picture, work.mask(t), colors), work.source.area))


def _check_finished(path: Path) -> None:
    """Make sure that the encoder got to the end, whatever the disk has said."""
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
