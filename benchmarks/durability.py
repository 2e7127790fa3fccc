"""What durability costs: a stroke, a proposed frame, an imported frame, a new session, before it and now.

``python -m benchmarks.durability --before FOLDER`` compares the ``model`` folder of an older checkout with this one,
rounds of both in turn. ``--place`` is a folder on the disk to measure. Prints medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile

FRAMES, SIZE = 1000, (480, 640)
STROKES, SESSIONS, IMPORTED = 100, 5, 100


def measure(place: Path) -> dict[str, float]:
    """One round with whatever `vivim` is imported: milliseconds of each."""
    from vivim.session import Session

    try:
        from vivim.io.import_masks import import_masks
    except ImportError:  # an older checkout
        from vivim.imports.api import import_masks

    def forced(session: Session) -> None:
        """Wait until the disk has everything; before, only closing did that."""
        getattr(session, "flush", lambda: None)()

    found: dict[str, float] = {}
    video = place / "clip.tif"
    tifffile.imwrite(video, np.zeros((FRAMES, *SIZE), np.uint8))
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (np.hypot(ys - 240, xs - 320) < 100).astype(np.uint8)
    times = []
    for k in range(SESSIONS):
        began = time.perf_counter()
        Session.open(video, folder=place / f"{k}.vivim").close()
        times.append(time.perf_counter() - began)
    found["a created session"] = 1000 * float(np.median(times))
    with Session.open(video, folder=place / "clip.vivim") as session:
        began = time.perf_counter()
        for t in range(FRAMES):
            session.propose(t, np.roll(disc, t % 50, 0), "v1", 0.5)
        found["a proposed frame"] = 1000 * (time.perf_counter() - began) / FRAMES
        began = time.perf_counter()
        forced(session)
        found["until the disk has the last of them"] = 1000 * (time.perf_counter() - began)
        editor, strokes, sure = session.editable(), [], []
        for k in range(STROKES):
            began = time.perf_counter()
            editor[3 * k, 10 : 10 + k + 1, 20:60] = 2
            strokes.append(time.perf_counter() - began)
            if k % 10 == 9:
                forced(session)
                sure.append(time.perf_counter() - began)
        found["a stroke"] = 1000 * float(np.median(strokes))
        found["a stroke, 99 % are faster"] = 1000 * float(np.percentile(strokes, 99))
        found["a stroke, until the disk has it"] = 1000 * float(np.median(sure))
        stack = np.stack([np.roll(disc, k, 1) for k in range(IMPORTED)] + [disc] * (FRAMES - IMPORTED))
        tifffile.imwrite(place / "masks.tif", stack, compression="zlib")
        began = time.perf_counter()
        for _ in import_masks(session, place / "masks.tif", "proposed"):
            pass
        forced(session)
        found["an imported frame"] = 1000 * (time.perf_counter() - began) / FRAMES
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="the model folder of an older checkout")
    parser.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory(dir=args.place) as name:
            print(json.dumps(measure(Path(name))))
        return
    models = {"now": Path(__file__).resolve().parents[1] / "model"}
    if args.before:
        models = {"before": args.before, **models}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as home:
        for _ in range(args.rounds):
            for which, model in models.items():
                environment = {**os.environ, "PYTHONPATH": str(model), "VIVIM_HOME": home}
                command = [sys.executable, __file__, "--one", "--place", str(args.place)]
                run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                for what, milliseconds in json.loads(run.stdout.splitlines()[-1]).items():
                    found[what][which].append(milliseconds)
    print(f"{'milliseconds':40}" + "".join(f"{which:>10}" for which in models))
    for what, times in found.items():
        print(f"{what:40}" + "".join(f"{np.median(times[which]):10.2f}" for which in models))


if __name__ == "__main__":
    main()
