"""How long the window stalls while masks are proposed, how soon it stops, and how long a dab of the brush takes.

``python -m benchmarks.window [--cold]`` drives a real viewer with the starter model on the ultrasound phantom. A stall
is the time between two turns of the event loop beyond the 5 ms the loop was asked to wait. With ``--cold`` no kernel
has been compiled before, as after an installation: the first run compiles them all.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable

if "--cold" in sys.argv:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

WAIT = 0.005


def stalls_until(done: Callable[[], bool], limit: float = 120.0) -> np.ndarray:
    """Turn the event loop until `done`; milliseconds each turn took."""
    app = QApplication.instance()
    times, end = [], time.perf_counter() + limit
    while not done():
        began = time.perf_counter()
        if began > end:
            raise TimeoutError(f"not done after {limit:.0f} s")
        app.processEvents()
        times.append(1000 * (time.perf_counter() - began))
        time.sleep(WAIT)
    return np.array(times)


def beats_until(done: Callable[[], bool]) -> np.ndarray:
    """Milliseconds between the ticks of a 5 ms timer in the GUI thread, so that waiting for the GIL counts too."""
    from qtpy.QtCore import QTimer

    ticks: list[float] = []
    timer = QTimer()
    timer.setInterval(int(1000 * WAIT))
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start()
    stalls_until(done)
    timer.stop()
    return 1000 * (np.diff(ticks) - WAIT)


def main() -> None:
    viewer = napari.Viewer()
    _, panel = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open_sample("napari-vivim", "ultrasound_phantom")
    stalls_until(lambda: panel.controller is not None and panel.controller.session is not None)
    stalls_until(lambda: panel.device.count() > 1)
    for sitting in ("first run, model loaded", "second run"):
        panel.propose.click()
        beats = beats_until(lambda: not panel.controller.busy)
        high = np.percentile(beats, 99)
        print(
            f"proposing, {sitting}: longest stall {beats.max():.0f} ms, 99 % {high:.0f} ms, {len(beats)} ticks"
        )
    waits = []
    for pause in (0.31, 0.52, 0.73, 0.94):
        panel.propose.click()
        until = time.perf_counter() + pause
        stalls_until(lambda until=until: time.perf_counter() > until)
        began = time.perf_counter()
        panel.controller.cancel()
        stalls_until(lambda: not panel.controller.busy)
        waits.append(1000 * (time.perf_counter() - began))
    print(f"from Cancel to stopped: median {np.median(waits):.0f} ms, longest {max(waits):.0f} ms")
    masks, dabs = panel.controller.masks, []
    for t in range(30):
        began = time.perf_counter()
        masks.paint((5, 60 + 2 * t, 100), 1)
        QApplication.instance().processEvents()
        dabs.append(1000 * (time.perf_counter() - began))
    print(f"one dab on 256x256, with redraw: median {np.median(dabs):.1f} ms, longest {max(dabs):.1f} ms")
    viewer.close()


if __name__ == "__main__":
    main()
