"""How fluid the window is: ``python -m benchmarks.window [--cold] [--frames 5000]``, under Xvfb without a display.

Drives a real viewer with the starter model. A stall is the time between two ticks of a 5 ms timer in the GUI thread
beyond those 5 ms, so that waiting for the interpreter's lock counts too. Measured on the ultrasound phantom: from click
to first mask, stalls while proposing and while fine-tuning, from Cancel to stopped; on a video of 1280 x 720: a dab of
the brush with its redraw, a jump of the slider, the timeline's painting; at the end the memory. With ``--cold`` no
kernel has been compiled before, as after an installation.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["VIVIM_HOME"] = tempfile.mkdtemp()  # sessions without anybody's corrections
if "--cold" in sys.argv:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()

import napari
import numpy as np
import psutil
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from vivim.video import write_video

from benchmarks.report import machine, parser, write
from benchmarks.scrub import walks

WAIT = 0.005
HEIGHT, WIDTH = 720, 1280


def turn_until(done: Callable[[], bool], limit: float = 240.0) -> None:
    """Turn the event loop until `done`."""
    app, end = QApplication.instance(), time.perf_counter() + limit
    while not done():
        if time.perf_counter() > end:
            raise TimeoutError(f"not done after {limit:.0f} s")
        app.processEvents()
        time.sleep(WAIT / 5)


def stalls_until(done: Callable[[], bool]) -> dict[str, float]:
    """Turn the event loop until `done`; the longest stall of the GUI thread meanwhile, and others, in ms."""
    ticks: list[float] = []
    timer = QTimer()
    timer.setInterval(int(1000 * WAIT))
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start()
    turn_until(done)
    timer.stop()
    late = np.append(1000 * (np.diff(ticks) - WAIT), 0.0)
    return {
        "longest_ms": round(float(late.max()), 1),
        "p99_ms": round(float(np.percentile(late, 99)), 1),
        "over_50_ms": int((late > 50).sum()),
        "ticks": len(late),
    }


def timed(actions: list[Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each action, until what it changed is painted."""
    app, took = QApplication.instance(), []
    for action in actions:
        began = time.perf_counter()
        action()
        app.processEvents()
        took.append(1000 * (time.perf_counter() - began))
    return {
        "median_ms": round(float(np.median(took)), 1),
        "p95_ms": round(float(np.percentile(took, 95)), 1),
        "longest_ms": round(max(took), 1),
    }


def resident_mib() -> int:
    """Memory of this process."""
    return round(psutil.Process().memory_info().rss / 2**20)


def say(report: dict[str, Any], name: str, value: Any) -> None:
    """Note one measurement and print it."""
    report[name] = value
    print(f"{name}: {value}", flush=True)


def work_on_phantom(viewer: napari.Viewer, panel: Any, report: dict[str, Any]) -> None:
    """Propose, cancel, correct, fine-tune; the window must not wait for any of it."""
    viewer.open_sample("napari-vivim", "ultrasound_phantom")
    turn_until(lambda: panel.controller is not None and panel.controller.session is not None)
    say(report, "getting the model ready", stalls_until(lambda: panel.controller.warming is None))
    controller = panel.controller
    turn_until(lambda: panel.device.count() > 1)
    for sitting in ("first", "second"):
        began, first = time.perf_counter(), []
        controller.frame_changed.connect(lambda *_, first=first: first.append(time.perf_counter()))
        panel.propose.click()
        stalls = stalls_until(lambda: not controller.busy)
        say(report, f"from click to first mask, {sitting} run", f"{first[0] - began:.2f} s")
        say(report, f"proposing, {sitting} run", stalls)
    waits = []
    for pause in (0.31, 0.52, 0.73):
        panel.propose.click()
        until = time.perf_counter() + pause
        turn_until(lambda until=until: time.perf_counter() > until)
        began = time.perf_counter()
        controller.cancel()
        turn_until(lambda: not controller.busy)
        waits.append(round(1000 * (time.perf_counter() - began)))
    say(report, "from Cancel to stopped, ms", waits)
    for t in np.linspace(0, len(controller.session) - 1, 5).astype(int).tolist():
        controller.session.correct(t, np.asarray(controller.session.masks[t]))
    began, first = time.perf_counter(), []
    controller.frame_changed.connect(lambda *_: first.append(time.perf_counter()))
    panel.propose.click()
    turn_until(lambda: bool(first))
    say(report, "from click to first mask, five frames corrected", f"{first[0] - began:.2f} s")
    controller.cancel()
    turn_until(lambda: not controller.busy)
    controller.finetune("starter", "cpu", "decoder")
    say(report, "fine-tuning", stalls_until(lambda: not controller.busy))


def look_at_long_video(viewer: napari.Viewer, panel: Any, frames: int, report: dict[str, Any]) -> None:
    """Paint on, and move about in, a long video of 1280 x 720."""
    from napari_vivim.timeline import show_timeline

    pictures = [np.full((HEIGHT, WIDTH, 3), 40 + 2 * i, np.uint8) for i in range(64)]
    for i, picture in enumerate(pictures):
        picture[200:500, 100 + 12 * i : 300 + 12 * i] = np.arange(200, dtype=np.uint8)[None, :, None]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        write_video(path, (pictures[i % 64] for i in range(frames)), 25.0)
        viewer.layers.clear()
        viewer.open(str(path), plugin="napari-vivim")
        turn_until(lambda: panel.controller.video_path == path and panel.controller.session is not None)
        controller, mask = panel.controller, np.zeros((HEIGHT, WIDTH), np.uint8)
        turn_until(lambda: controller.warming is None)
        mask[200:500, 300:700] = 1
        for t in range(0, frames, 10):
            controller.session.propose(t, mask, "benchmark", 0.1 + 0.2 * (t % 7))
        controller.go_to(frames // 2)
        turn_until(lambda: bool(np.isfinite(show_timeline(viewer).watch.track.areas).any()))
        paint = controller.masks.paint
        dabs = [lambda i=i: paint((frames // 2, 100 + 4 * i, 200 + 6 * i), 1) for i in range(100)]
        say(report, f"a dab at {WIDTH} x {HEIGHT} x {frames}", timed(dabs))
        for name, walk in walks(frames, 60).items():
            say(report, f"scrubbing, {name}", timed([lambda t=t: controller.go_to(t) for t in walk]))
        view = show_timeline(viewer).view
        zooms = [lambda i=i: (view.show_range(i, frames - 9 * i), view.repaint()) for i in range(60)]
        say(report, "zooming the timeline", timed(zooms))
        hovers = [lambda x=x: view._hover(view.frame_at(x)) for x in range(0, view.width(), 10)]
        say(report, "hovering over the timeline", timed(hovers))
        viewer.layers.clear()


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=1)
    options.add_argument("--frames", type=int, default=5000)
    options.add_argument("--cold", action="store_true", help="nothing compiled before")
    arguments = options.parse_args(argv)
    report: dict[str, Any] = {"machine": machine()}
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    say(report, "resident with an empty viewer, MiB", resident_mib())
    _, panel = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    work_on_phantom(viewer, panel, report)
    say(report, "resident after the phantom, MiB", resident_mib())
    look_at_long_video(viewer, panel, arguments.frames, report)
    say(report, "resident after the long video, MiB", resident_mib())
    write(report, arguments.json)
    viewer.close()


if __name__ == "__main__":
    main()
