"""How fluid the window is: ``python -m benchmarks.window [--cold] [--frames 5000]``, under Xvfb without a display.

Drives a real viewer with the starter model. A stall is the time between two ticks of a 5 ms timer in the GUI thread
beyond those 5 ms, so that waiting for the interpreter's lock counts too, and so does waiting for a core where other
programs run. The latter is told apart on Linux; `LP_NUM_THREADS=0` has Mesa draw in the GUI thread, whose own threads
else wait unseen. Measured first, in processes of their own: the turns of opening a video, see `benchmarks.opening`; on
the ultrasound phantom: from click to first mask, stalls while proposing, while what the next click needs is worked
out, and while fine-tuning, from Cancel to stopped; on a video of 1280 x 720: a dab of the brush with its redraw, and a
jump of the slider, here and in plain napari, the timeline's painting, and from a click of the prompt tool to its
outline; at the end the memory. With ``--cold`` no
kernel has been compiled before, as after an installation.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
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
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication
from vivim.video import write_video

from benchmarks.opening import measured
from benchmarks.report import machine, parser, write
from benchmarks.scrub import walks

WAIT, LIMIT = 0.005, 240.0
"""Seconds between two ticks, and after which something is taken to hang."""
HEIGHT, WIDTH = 720, 1280


def turn_until(done: Callable[[], bool]) -> None:
    """Turn the event loop until `done`."""
    app, end = QApplication.instance(), time.perf_counter() + LIMIT
    while not done():
        if time.perf_counter() > end:
            raise TimeoutError(f"not done after {LIMIT:.0f} s")
        app.processEvents()
        time.sleep(WAIT / 5)


def stalls_until(done: Callable[[], bool]) -> dict[str, float]:
    """Run an event loop of Qt's until `done`; the longest stall of the GUI thread meanwhile, and others, in ms."""
    ticks, used, queued, loop, end = [], [], [], QEventLoop(), time.perf_counter() + LIMIT

    def tick() -> None:
        ticks.append(time.perf_counter())
        used.append(time.thread_time())
        queued.append(seconds_without_a_core())
        if done() or ticks[-1] > end:
            loop.quit()

    timer = QTimer()
    timer.setInterval(int(1000 * WAIT))
    timer.timeout.connect(tick)
    timer.start()
    loop.exec()
    timer.stop()
    if ticks[-1] > end:
        raise TimeoutError(f"not done after {LIMIT:.0f} s")
    late = np.append(1000 * (np.diff(ticks) - WAIT), 0.0)
    own = late - np.append(1000 * np.diff(queued), 0.0)
    return {
        "longest_ms": round(float(late.max()), 1),
        "longest_but_for_waiting_for_a_core_ms": round(float(own.max()), 1),
        "longest_processor_ms": round(1000 * float(np.append(np.diff(used), 0.0).max()), 1),
        "p99_ms": round(float(np.percentile(late, 99)), 1),
        "over_50_ms": int((late > 50).sum()),
        "over_50_ms_but_for_waiting_for_a_core": int((own > 50).sum()),
        "ticks": len(late),
    }


def seconds_without_a_core() -> float:
    """How long the calling thread could have gone on, but other threads and programs had all cores; 0 beside Linux."""
    told = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def timed(actions: list[Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each action, until what it changed is painted, and of what comes before painting."""
    app, took, acted = QApplication.instance(), [], []
    for action in actions:
        began = time.perf_counter()
        action()
        acted.append(1000 * (time.perf_counter() - began))
        app.processEvents()
        took.append(1000 * (time.perf_counter() - began))
    return {
        "before_painting_p95_ms": round(float(np.percentile(acted, 95)), 1),
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


def once_over(ahead: Any) -> Callable[[], bool]:
    """True once the work ahead has begun and is over."""
    begun: list[object] = []

    def over() -> bool:
        if ahead.job is not None:
            begun.append(ahead.job)
        return bool(begun) and ahead.job is None

    return over


def dabs_on(labels: Any, frame: int) -> list[Callable[[], Any]]:
    """Strokes of the brush along a line, each over pixels that were not painted before."""
    return [lambda i=i: labels.paint((frame, 100 + 4 * i, 200 + 6 * i), 1) for i in range(100)]


def work_in_plain_napari(viewer: napari.Viewer, report: dict[str, Any]) -> None:
    """The same dabs and jumps on layers of napari's own, all of it in memory."""
    shape = 64, HEIGHT, WIDTH
    viewer.add_image(np.zeros((*shape, 3), np.uint8), rgb=True)
    labels = viewer.add_labels(np.zeros(shape, np.uint8))
    labels.brush_size = HEIGHT // 24
    viewer.dims.set_current_step(0, 32)
    turn_for(1.0)
    say(report, f"a dab in plain napari at {WIDTH} x {HEIGHT} x 64", timed(dabs_on(labels, 32)))
    for name, walk in walks(64, 60).items():
        jumps = [lambda t=t: viewer.dims.set_current_step(0, t) for t in walk]
        say(report, f"scrubbing in plain napari, {name}", timed(jumps))
    viewer.layers.clear()


def turn_for(seconds: float) -> None:
    """Turn the event loop for so long."""
    end = time.perf_counter() + seconds
    turn_until(lambda: time.perf_counter() > end)


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
        turn_for(pause)
        began = time.perf_counter()
        controller.cancel()
        turn_until(lambda: not controller.busy)
        waits.append(round(1000 * (time.perf_counter() - began)))
    say(report, "from Cancel to stopped, ms", waits)
    for t in np.linspace(0, len(controller.session) - 1, 5).astype(int).tolist():
        controller.session.correct(t, np.asarray(controller.session.masks[t]))
    say(report, "working ahead of the next click", stalls_until(once_over(controller.precompute)))
    began, first = time.perf_counter(), []
    controller.frame_changed.connect(lambda *_: first.append(time.perf_counter()))
    panel.propose.click()
    turn_until(lambda: bool(first))
    say(report, "from click to first mask, five frames corrected", f"{first[0] - began:.2f} s")
    controller.cancel()
    turn_until(lambda: not controller.busy)
    controller.finetune("starter", "cpu", "decoder")
    say(report, "fine-tuning", stalls_until(lambda: not controller.busy))


def look_at_long_video(
    viewer: napari.Viewer, panel: Any, frames: int, rounds: int, report: dict[str, Any]
) -> None:
    """Paint on, and move about in, a long video of 1280 x 720."""
    from napari_vivim.timeline.timeline_widget import show_timeline

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
        controller.masks.brush_size = HEIGHT // 24
        turn_for(1.0)
        say(report, f"a dab at {WIDTH} x {HEIGHT} x {frames}", timed(dabs_on(controller.masks, frames // 2)))
        for name, walk in walks(frames, 60).items():
            say(report, f"scrubbing, {name}", timed([lambda t=t: controller.go_to(t) for t in walk]))
        view = show_timeline(viewer).view
        zooms = [lambda i=i: (view.show_range(i, frames - 9 * i), view.repaint()) for i in range(60)]
        say(report, "zooming the timeline", timed(zooms))
        hovers = [lambda x=x: view._hover(view.frame_at(x)) for x in range(0, view.width(), 10)]
        say(report, "hovering over the timeline", timed(hovers))
        prompt_on_long_video(panel, rounds, report)
        viewer.layers.clear()


def prompt_on_long_video(panel: Any, rounds: int, report: dict[str, Any]) -> None:
    """Clicks on the 720p video, the first on a frame that was never encoded, until the outline is drawn."""
    controller, first, others = panel.controller, [], []
    tool = controller.prompting
    controller.update_neighbours = False
    tool.start()
    turn_until(lambda: tool._encoding is None and not tool._rest.isActive())
    rng = np.random.default_rng(0)
    for round_ in range(4 * rounds):
        controller.go_to(40 + 60 * round_)
        tool._rest.stop()  # the first click comes before it is encoded in advance
        for number in range(6):
            place = rng.integers(100, 600), rng.integers(200, 1000)
            began, count = time.perf_counter(), number + 1
            tool.add_point((float(place[0]), float(place[1])), number % 3 < 2)
            turn_until(lambda count=count: bool(tool.prompted) and len(tool.prompted.prompts.points) == count)
            QApplication.instance().processEvents()  # draws it
            (others if number else first).append(1e3 * (time.perf_counter() - began))
        tool.drop()
        turn_until(lambda: not tool._jobs)
    tool.stop()
    for name, times in (("first click on a frame", first), ("click", others)):
        median, late = np.percentile(times, (50, 95))
        say(report, f"{name} to its outline, 720p, ms", {"p50": round(median, 1), "p95": round(late, 1)})


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=3)
    options.add_argument("--frames", type=int, default=5000)
    options.add_argument("--cold", action="store_true", help="nothing compiled before")
    arguments = options.parse_args(argv)
    report: dict[str, Any] = {"machine": machine()}
    for kind, turns in measured(arguments.rounds).items():
        say(report, f"turns while opening a video, {kind}", turns)
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    say(report, "resident with an empty viewer, MiB", resident_mib())
    work_in_plain_napari(viewer, report)
    _, panel = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    work_on_phantom(viewer, panel, report)
    say(report, "resident after the phantom, MiB", resident_mib())
    look_at_long_video(viewer, panel, arguments.frames, arguments.rounds, report)
    say(report, "resident after the long video, MiB", resident_mib())
    write(report, arguments.json)
    viewer.close()


if __name__ == "__main__":
    main()
