"""Write frames as an mp4 file that every player shows."""

import contextlib
import itertools
import math
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.utils.atomic_files import atomic_write

NO_TREE = "mbtree=0"
"""To x264: leave the macroblock tree out. With it, and AVX-512, one picture in some thousands is coded otherwise."""


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
        If there are no frames, they are not uint8 of one size, or `fps` is not a positive number.
    OSError
        If it cannot be written; nothing is left behind.
    """
    path = Path(path)
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"{fps} frames per second is not a rate. Give a positive number.")
    pictures = _checked(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("There are no frames to write.")
    with atomic_write(path) as part:
        for _ in encoded(part, itertools.chain((first,), pictures), fps, crf, gop):
            pass
    return path


def encoded(
    path: Path,
    pictures: Iterator[NDArray[np.uint8]],
    fps: float,
    crf: int,
    gop: int = 48,
    pixel_aspect: float = 1.0,
) -> Generator[int, None, None]:
    """Encode straight into `path` with PyAV's x264, or with imageio-ffmpeg's program where PyAV was built without it.

    The `pictures` are RGB uint8 ``(H, W, 3)`` of one size, at least one, both sides `even`. Yields how many are taken.
    PyAV's encoder belongs to this process: when that is killed, nothing goes on writing.
    """
    import av

    first = next(pictures)
    rate, aspect = Fraction(fps).limit_denominator(1001), Fraction(pixel_aspect).limit_denominator(1000)
    # the same pictures make the same bytes each time
    options = {"crf": str(crf), "g": str(gop), "x264-params": NO_TREE}
    if "libx264" not in av.codecs_available:
        from imageio_ffmpeg import write_frames

        words = [word for name, value in options.items() for word in (f"-{name}", value)]
        words += ["-vf", f"setsar={aspect.numerator}/{aspect.denominator}", "-f", "mp4"]
        program = write_frames(
            str(path),
            first.shape[1::-1],
            fps=float(rate),
            quality=None,
            macro_block_size=2,
            output_params=words,
        )
        program.send(None)
        with contextlib.closing(program):
            for done, rgb in enumerate(itertools.chain((first,), pictures), start=1):
                program.send(rgb)
                yield done
        return
    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for done, rgb in enumerate(itertools.chain((first,), pictures), start=1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            yield done
        container.mux(stream.encode())


def _checked(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Frames as RGB of even size. All must be uint8 and of the first one's size."""
    size = None
    for t, frame in enumerate(frames):
        picture = np.asarray(frame)
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
            raise ValueError(f"Frame {t} is {picture.dtype} {picture.shape}; give uint8 (H, W) or (H, W, 3).")
        size = size or picture.shape[:2]
        if picture.shape[:2] != size:
            raise ValueError(f"Frame {t} is {picture.shape[:2]}, frame 0 {size}. All need one size.")
        yield even(np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture)


def even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Height and width made even by repeating the last row or column, as the encoder needs."""
    pad = ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0))
    return np.pad(rgb, pad, mode="edge") if pad[0][1] or pad[1][1] else np.ascontiguousarray(rgb)
