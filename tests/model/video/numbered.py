"""Videos whose frames carry their number in their pixels, so that a wrong frame gives itself away."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

COUNT, HEIGHT, WIDTH = 70, 48, 64
BITS = 8


def numbered(i: int) -> np.ndarray:
    """A picture whose left blocks spell `i` in black and white."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        frame[bit * 6 : bit * 6 + 6, :16] = 255 if i >> bit & 1 else 0
    frame[:, 16 + i % 40 : 24 + i % 40] = (200, 40, 40)
    return frame


def number_of(frame: np.ndarray) -> int:
    return sum(1 << bit for bit in range(BITS) if frame[bit * 6 + 1 : bit * 6 + 5, 2:14].mean() > 128)


def encode(
    path: Path, codec: str, options: dict[str, str], times: list[int] | None = None, bframes: int = 0
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 1000)
        if bframes:
            stream.codec_context.max_b_frames = bframes
        for i in range(COUNT):
            picture = av.VideoFrame.from_ndarray(numbered(i), format="rgb24")
            picture.pts = times[i] if times else i * 40
            picture.time_base = Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path
