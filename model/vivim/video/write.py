"""Write frames as an mp4 file that every player shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_video(
    path: str | Path, frames: Iterable[NDArray[np.uint8]], fps: float, crf: int = 18, gop: int = 48
) -> Path:
    """Encode frames with H.264.

    Parameters
    ----------
    path : str or Path
        Ends with ``.mp4``; appears only when it is whole.
    frames : iterable of ndarray
        ``(H, W)`` or ``(H, W, 3)`` uint8, all of one size; odd sizes get one more row or column, repeated.
    fps : float
        Frames per second.
    crf : int
        Quality, 0 (lossless) to 51; 18 is visually lossless.
    gop : int
        Frames from one key frame to the next.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        If there are no frames.
    OSError
        If it cannot be written; nothing is left behind.
    """
    import av

    path = Path(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    rate = Fraction(fps).limit_denominator(1000)
    try:
        with av.open(str(part), "w") as container:
            stream = None
            for picture in frames:
                rgb = _even(np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture)
                if stream is None:
                    options = {"crf": str(crf), "g": str(gop)}
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], "yuv420p"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            if stream is None:
                raise ValueError("There are no frames to write.")
            container.mux(stream.encode())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def _even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Height and width made even by repeating the last row or column, as the encoder needs."""
    pad = ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0))
    return np.pad(rgb, pad, mode="edge") if pad[0][1] or pad[1][1] else np.ascontiguousarray(rgb)
