"""How long a jump takes to show something, and to show the exact frame: ``python -m benchmarks.scrub``.

Writes a 1080p H.264 video of moving phantoms with a key frame every 250 frames, then measures jumps to random frames,
small steps forth and back, and dragging. Every jump is timed twice: until a preview is there and until the exact frame
is. Nothing is in memory at the first jump; what later ones find there is part of what is measured.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.report import machine, parser, write

HEIGHT, WIDTH, GROUP = 1080, 1920, 250


def make_video(path: Path, frames: int, preset: str) -> None:
    """A moving, noisy picture, as H.264 of one key frame in 250 and three B-frames."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(40, 200, (HEIGHT // 8 + 40, WIDTH // 8 + 40)), np.ones((8, 8))).astype(
        np.uint8
    )
    noise = rng.integers(0, 12, ground.shape, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {
            "g": str(GROUP),
            "keyint_min": str(GROUP),
            "sc_threshold": "0",
            "bf": "3",
            "preset": preset,
        }
        for t in range(frames):
            at = t % 256
            grey = ground[at : at + HEIGHT, at : at + WIDTH] + noise[at // 2 : at // 2 + HEIGHT, :WIDTH]
            picture = np.repeat(grey[..., None], 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def walks(frames: int, count: int) -> dict[str, list[int]]:
    """Frames asked for, one list for each way of moving."""
    rng = np.random.default_rng(1)
    steps = np.cumsum(rng.choice([-3, -2, -1, 1, 2, 3], count)) + frames // 2
    drag = np.abs((np.arange(count) * 17 + 90) % (2 * frames - 2) - frames + 1)
    return {
        "random jumps": [int(i) for i in rng.integers(0, frames, count)],
        "small steps": [int(i) for i in np.clip(steps, 0, frames - 1)],
        "dragging": [int(i) for i in drag],
    }


def measure(path: Path, asked: Iterable[int]) -> dict[str, float]:
    """Milliseconds until a preview, and until the exact frame, of each frame asked for."""
    from vivim import open_video

    video = open_video(path)
    previews, exact = [], []
    for i in asked:
        began = time.perf_counter()
        video.preview(i)
        previews.append(time.perf_counter() - began)
        began = time.perf_counter()
        video.frame(i)
        exact.append(time.perf_counter() - began)
    video.close()
    return {
        f"{name}_p{share}_ms": round(float(np.percentile(times, share)) * 1000, 1)
        for name, times in (("preview", previews), ("exact", exact))
        for share in (50, 95)
    }


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--frames", type=int, default=1000)
    options.add_argument("--count", type=int, default=60)
    options.add_argument("--preset", default="veryfast")
    options.add_argument("--video", type=Path, help="a video of one's own instead")
    arguments = options.parse_args(argv)
    report: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or Path(folder) / "scrub.mp4"
        if arguments.video is None:
            make_video(path, arguments.frames, arguments.preset)
        from vivim import open_video

        frames = len(open_video(path))
        rows = []
        for name, asked in walks(frames, arguments.count).items():
            rows.append({"movement": name, **measure(path, asked)})
            print(rows[-1], flush=True)
    report["rows"] = rows
    write(report, arguments.json)


if __name__ == "__main__":
    main()
