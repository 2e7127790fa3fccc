"""How many mask pixels bfloat16 moves, and what it gains: ``python -m benchmarks.precision [VIDEO ...]``.

Masks of the same frames in float32 and in bfloat16, interleaved: the share of pixels that differ, the same
as a share of the lesion's pixels, and the time of both. Without arguments on both phantoms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vivim import load_model, open_video
from vivim.inference.proposals import segment_frames
from vivim.video import make_phantom

from benchmarks.report import interleaved, machine, parser, set_threads, summary, write


def clips(paths: list[Path], most: int) -> Iterator[tuple[str, NDArray]]:
    """Names and frames of what to compare."""
    for path in paths:
        video = open_video(path)
        yield path.name, np.stack(list(video.frames(0, min(len(video), most))))
        video.close()
    if not paths:
        for texture in ("speckle", "mucosa"):
            yield f"phantom, {texture}", make_phantom(min(most, 60), texture=texture).frames


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=2)
    options.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    options.add_argument("--model", default="starter")
    options.add_argument("--most", type=int, default=96, help="frames of each video")
    arguments = options.parse_args(argv)
    set_threads(arguments)
    model = load_model(arguments.model)
    report: dict[str, object] = {"machine": machine(), "model": f"{model.name} {model.version}"}
    print(report["machine"])
    rows = []
    for name, frames in clips(arguments.videos, arguments.most):
        masks: dict[str, NDArray] = {}

        def run(precision: str, frames: NDArray = frames, masks: dict[str, NDArray] = masks) -> None:
            masks[precision] = segment_frames(model, frames, precision=precision) > 0

        times = interleaved(
            {p: lambda p=p, run=run: run(p) for p in ("float32", "bfloat16")}, arguments.rounds
        )
        moved = masks["float32"] != masks["bfloat16"]
        row = {
            "video": name,
            "frames": len(frames),
            "moved_pixels": float(moved.mean()),
            "moved_of_lesion": float(moved.sum() / max(1, masks["float32"].sum())),
            **{f"{p}_ms_a_frame": summary(s)["median_ms"] / len(frames) for p, s in times.items()},
        }
        rows.append(row)
        print(
            f"{name}: {row['moved_pixels']:.3%} of pixels, {row['moved_of_lesion']:.2%} of the lesion; "
            f"{row['float32_ms_a_frame']:.0f} and {row['bfloat16_ms_a_frame']:.0f} ms a frame"
        )
    report["rows"] = rows
    write(report, arguments.json)


if __name__ == "__main__":
    main()
