"""From an mp4 to masks: frames per second and peak memory: ``python -m benchmarks.video [--frames 300 3000]``.

Each length is run in a process of its own, which writes the phantom as H.264, loads the model, then proposes masks for
every frame into a session on disk. Memory is the resident memory of the process at its highest above what it was
with the model loaded and one frame predicted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Peak, machine, parser, set_threads, write


def write_phantom(path: Path, frames: int) -> None:
    """The phantom as a video of any length: one cycle, forth and back, again and again."""
    from vivim.video import make_phantom, write_video

    cycle = make_phantom(min(frames, 120)).frames
    there_and_back = [*range(len(cycle)), *range(len(cycle) - 2, 0, -1)] if len(cycle) > 2 else [0]
    write_video(path, (cycle[there_and_back[t % len(there_and_back)]] for t in range(frames)), 25.0)


def measure(frames: int, model_name: str, precision: str) -> dict[str, float]:
    """Run one length in this process."""
    from vivim import Session, load_model, propose

    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "phantom.mp4"
        write_phantom(video, frames)
        model = load_model(model_name)
        with Session.open(video) as session:
            list(propose(session, model, frames=[0], precision=precision))
            with Peak() as peak:
                began = time.perf_counter()
                first = None
                for _ in propose(session, model, precision=precision):
                    first = first or time.perf_counter() - began
                seconds = time.perf_counter() - began
    return {
        "frames": frames,
        "seconds": round(seconds, 2),
        "frames_per_second": round(frames / seconds, 2),
        "first_mask_s": round(first or 0.0, 2),
        "peak_mb_above_model": round((peak.highest - peak.start) / 2**20, 1),
    }


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--frames", type=int, nargs="+", default=[300, 3000])
    options.add_argument("--model", default="starter")
    options.add_argument("--precision", default="auto")
    options.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args(argv)
    set_threads(arguments)
    if arguments.one:
        print(json.dumps(measure(arguments.frames[0], arguments.model, arguments.precision)))
        return
    report: dict[str, object] = {"machine": machine(), "model": arguments.model}
    print(report["machine"])
    rows = []
    for frames in arguments.frames:
        command = [sys.executable, "-m", "benchmarks.video", "--one", "--frames", str(frames)]
        command += ["--model", arguments.model, "--precision", arguments.precision]
        if arguments.threads:
            command += ["--threads", str(arguments.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1])
    report["rows"] = rows
    write(report, arguments.json)


if __name__ == "__main__":
    main()
