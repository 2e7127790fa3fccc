"""How long a session's writes and reads take at 720 x 1280, and how long a session of 20,000 frames takes to open.

``python -m benchmarks.session`` works in a temporary folder and prints medians and the slowest hundredth.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import zarr
from vivim.session import Session
from zarr.codecs import BloscCodec, ZstdCodec

HEIGHT, WIDTH, FRAMES, ROUNDS = 720, 1280, 60, 120
LONG = 20_000

CODECS = {
    "none": None,
    "lz4": BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1),
    "zstd 1": ZstdCodec(level=1),
}


def report(name: str, do: Callable[[int], object], rounds: int = ROUNDS) -> None:
    times = []
    for i in range(rounds):
        began = time.perf_counter()
        do(i)
        times.append(1000 * (time.perf_counter() - began))
    print(f"{name:44} {np.median(times):7.2f} ms   99 % {np.percentile(times, 99):7.2f} ms", flush=True)


def lesions(count: int) -> np.ndarray:
    """Discs with ragged outlines, as a network draws them."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(ys - 350, xs - 600)[None] + rng.normal(0, 2, (count, HEIGHT, WIDTH))
    return (distance < 200).astype(np.uint8)


def codecs(folder: Path, masks: np.ndarray) -> None:
    for name, codec in CODECS.items():
        array = zarr.create_array(
            store=str(folder / f"{name}.zarr"), shape=(FRAMES, HEIGHT, WIDTH), chunks=(1, HEIGHT, WIDTH),
            dtype="uint8", compressors=codec, fill_value=0,
        )  # fmt: skip
        report(f"zarr write, {name}", lambda i, a=array: a.__setitem__(i % FRAMES, masks[i % len(masks)]))
        report(f"zarr read, {name}", lambda i, a=array: np.asarray(a[i % FRAMES]))


def gate(folder: Path, masks: np.ndarray) -> None:
    video = folder / "video.tif"
    tifffile.imwrite(video, np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8))
    with Session.open(video, author="benchmark") as session:
        report("Session.propose", lambda i: session.propose(i % FRAMES, masks[i % len(masks)], "v", 0.5))
        report("Session.correct", lambda i: session.correct(i % FRAMES, masks[i % len(masks)]))
        report("Session.accept (waits for the disk)", lambda i: session.accept(i), rounds=FRAMES)
        editor = session.editable()
        ys, xs = np.nonzero(np.hypot(*np.mgrid[-10:11, -10:11]) <= 10)

        def dab(i: int) -> None:
            editor[np.full(len(ys), 3), ys + 100, xs + 20 + 7 * i] = 1 + i % 2

        report("a dab of the brush, one frame", dab)
        report("scrubbing, frames not in memory", lambda i: editor[(17 * i) % FRAMES])


OPENED = """
import resource, sys, time
from vivim.session import Session
began = time.perf_counter()
with Session.open(sys.argv[1]) as session:
    seconds = time.perf_counter() - began
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6
    print(f"{seconds:.2f} s, {len(session.frames_with('proposed'))} frames proposed, {peak:.0f} MB resident at most")
"""


def long_session(folder: Path) -> None:
    """Every frame proposed twice, opened by a program of its own, after a clean end and after a crash."""
    video = folder / "long.tif"
    tifffile.imwrite(video, np.zeros((LONG, 16, 16), np.uint8))
    began = time.perf_counter()
    with Session.open(video) as session:
        print(f"make a session of {LONG} frames: {time.perf_counter() - began:.2f} s")
        mask = np.ones((16, 16), np.uint8)
        began = time.perf_counter()
        for t in range(LONG):
            session.propose(t, mask, "v", 0.5)
        print(f"propose them all: {time.perf_counter() - began:.0f} s")
    ledger = session.folder / "ledger.jsonl"
    ledger.write_text(2 * ledger.read_text())
    holder = session.folder / "lock.holder"
    for crashed in (False, True):
        for what, path in (("folder", session.folder), ("video", video)):
            if crashed:
                holder.write_text("process 1, killed")
            run = subprocess.run(
                [sys.executable, "-c", OPENED, str(path)], stdout=subprocess.PIPE, text=True, check=True
            )
            ended = "after a crash" if crashed else "after a clean end"
            print(f"open it by its {what} {ended}, {2 * LONG} ledger lines: {run.stdout.strip()}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, masks = Path(name), lesions(8)
        codecs(folder, masks)
        gate(folder, masks)
        long_session(folder)


if __name__ == "__main__":
    main()
