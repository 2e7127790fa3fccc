"""How long opening the first video holds the window: ``python -m benchmarks.opening``, under Xvfb without a display.

Each run is a process of its own, as the first picture, dock and masks layer of a process cost most: one opens a video
of 1280 x 720 with this plugin, the next adds an image and a labels layer of that size to plain napari, where all was
imported before. A turn is the time between two ticks of a 5 ms timer in the GUI thread beyond those 5 ms; its
processor time is that of the GUI thread alone, and so nearly the same on a busy machine. A turn belongs to the last
that was there at its end: while reading, after the picture, the dock, the timeline, the masks. The model is not
warmed up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

TICK = 0.005
HEIGHT, WIDTH, FRAMES = 720, 1280, 24
QUIET = 1.5
"""Seconds in which what is still to be done is done."""
LEAST_MS = 20.0
"""Shorter turns are not reported."""


class Turns:
    """Turns of the event loop, each with what was there at its end.

    Parameters
    ----------
    stage : callable
        Names it.
    """

    def __init__(self, stage: Callable[[], str]) -> None:
        from qtpy.QtCore import QTimer

        self._stage = stage
        self._ticks: list[tuple[float, float, str]] = []
        self._steps: Iterator[Callable[[], bool]] = iter(())
        self._reached: Callable[[], bool] = lambda: True
        self._timer = QTimer()
        self._timer.setInterval(int(1000 * TICK))
        self._timer.timeout.connect(self._tick)
        self._next = QTimer()
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._step)

    def _tick(self) -> None:
        self._ticks.append((time.perf_counter(), time.thread_time(), self._stage()))
        if self._reached():
            self._reached = lambda: False
            self._next.start(0)

    def _step(self) -> None:
        """Do what comes next, in a turn of its own."""
        from qtpy.QtWidgets import QApplication

        try:
            reached = next(self._steps, None)
        except Exception as error:
            traceback.print_exception(error)
            os._exit(1)  # napari would show it in the window, and go on
        if reached is None:
            QApplication.instance().quit()
        else:
            self._reached = reached

    def run(self, steps: Iterator[Callable[[], bool]]) -> None:
        """Take the steps, each as soon as what the one before yielded is true, in the application's own event loop."""
        from qtpy.QtWidgets import QApplication

        self._steps, self._reached = steps, lambda: True
        self._timer.start()
        QApplication.instance().exec()
        self._timer.stop()

    def forget(self) -> None:
        """Count from now on."""
        self._ticks = [(time.perf_counter(), time.thread_time(), "")]

    def found(self) -> list[tuple[str, float, float]]:
        """The long ones: what they brought, milliseconds, milliseconds of processor time."""
        turns = [
            (name, 1000 * (now - before - TICK), 1000 * (used_now - used))
            for (before, used, _), (now, used_now, name) in zip(self._ticks, self._ticks[1:], strict=False)
        ]
        return [(name, round(wall, 1), round(used, 1)) for name, wall, used in turns if wall > LEAST_MS]


def for_seconds(seconds: float) -> Callable[[], bool]:
    """True once so much time has gone by."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


def open_here(kind: str) -> dict[str, Any]:
    """Open a video in this process, ``"with this plugin"`` or in ``"plain napari"``."""
    import napari

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    turns = Turns(lambda: _stage(viewer))
    steps = _plain_layers(viewer, turns) if kind == "plain napari" else _video(viewer, turns)
    turns.run(steps)
    return {"turns": turns.found()}


def _stage(viewer: Any) -> str:
    kinds = {kind.__name__ for layer in viewer.layers for kind in type(layer).__mro__}
    docks = " ".join(viewer.window.dock_widgets)
    for there, name in (
        ("Labels" in kinds, "masks"),
        ("Timeline" in docks, "timeline"),
        ("Segment" in docks, "dock"),
        ("Image" in kinds, "picture"),
    ):
        if there:
            return name
    return "reading"


def _video(viewer: Any, turns: Turns) -> Iterator[Callable[[], bool]]:
    import numpy as np
    from vivim.video import write_video

    from napari_vivim.controller.video_controller import VideoController

    VideoController.warm_up = lambda controller: None  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES))
    path = write_video(Path(tempfile.mkdtemp()) / "a.mp4", pictures, 25.0)
    yield for_seconds(QUIET)
    turns.forget()
    viewer.open(str(path), plugin="napari-vivim")
    yield lambda: _stage(viewer) == "masks"
    yield for_seconds(QUIET)


def _plain_layers(viewer: Any, turns: Turns) -> Iterator[Callable[[], bool]]:
    import numpy as np
    from napari.layers import Image, Labels

    from napari_vivim.background.worker import load_layers
    from napari_vivim.layers.masks_layer import warm_up_masks_layer

    load_layers()
    warm_up_masks_layer()
    shape = FRAMES, HEIGHT, WIDTH
    image = Image(np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8), rgb=True)
    labels = Labels(np.zeros(shape, np.uint8))
    yield for_seconds(QUIET)
    turns.forget()
    viewer.add_layer(image)
    yield for_seconds(QUIET)
    viewer.add_layer(labels)
    yield for_seconds(QUIET)


def measured(rounds: int) -> dict[str, Any]:
    """Medians over some runs of each kind in turn: the longest turn, of all and by what they brought."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(rounds):
        for kind in ("with this plugin", "plain napari"):
            with tempfile.TemporaryDirectory() as home:
                command = [sys.executable, "-m", "benchmarks.opening", "--here", kind]
                clean = {**os.environ, "VIVIM_HOME": home, "XDG_CONFIG_HOME": home}  # nobody's own settings
                done = subprocess.run(command, env=clean, capture_output=True, text=True, check=True)
            runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
    return {kind: summary(found) for kind, found in runs.items()}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several runs of one kind."""
    stages = list(dict.fromkeys(name for run in runs for name, _, _ in run["turns"]))
    told: dict[str, Any] = {}
    for stage in ["any", *stages]:
        longest = [
            max(
                (turn for turn in run["turns"] if stage in ("any", turn[0])),
                key=lambda t: t[1],
                default=("", 0, 0),
            )
            for run in runs
        ]
        told[stage] = {
            "longest_ms": round(median(wall for _, wall, _ in longest)),
            "of_which_processor_ms": round(median(used for _, _, used in longest)),
        }
    told["over_50_ms"] = median(sum(wall > 50 for _, wall, _ in run["turns"]) for run in runs)
    return told


def main(argv: list[str] | None = None) -> None:
    from benchmarks.report import machine, parser, write

    options = parser(__doc__.splitlines()[0], rounds=5)
    options.add_argument("--here", help="one run in this process, of this kind")
    arguments = options.parse_args(argv)
    if arguments.here:
        print(json.dumps(open_here(arguments.here)))
        sys.stdout.flush()
        os._exit(0)  # whatever still loads
    report = {"machine": machine(), **measured(arguments.rounds)}
    for name, value in report.items():
        print(f"{name}: {json.dumps(value)}", flush=True)
    write(report, arguments.json)


if __name__ == "__main__":
    main()
