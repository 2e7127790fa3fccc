"""Make the pictures of the window for the documentation, from the synthetic ultrasound video alone.

``python docs/make_screenshots.py`` writes ``window.png``, ``finetune.png`` and ``frame.png`` into ``docs/images``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_vivim.timeline.timeline_widget import show_timeline

IMAGES = Path(__file__).parent / "images"


def wait(done: Callable[[], bool], limit: float = 600.0) -> None:
    """Turn the event loop until `done`."""
    end = time.monotonic() + limit
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not done after {limit:.0f} s")
        QApplication.instance().processEvents()
        time.sleep(0.01)


def picture(viewer: napari.Viewer, name: str) -> None:
    """Save the window as it is, once it has come to rest."""
    rest = time.monotonic() + 0.5
    wait(lambda: time.monotonic() > rest)
    viewer.window.screenshot(str(IMAGES / name), flash=False, canvas_only=False)


def card(viewer: napari.Viewer, frame: int, name: str) -> None:
    """Save what the timeline says of a frame."""
    timeline = show_timeline(viewer)
    timeline.view.under_mouse = frame
    timeline._hover(frame)
    wait(lambda: not timeline.card.picture.pixmap().isNull())
    timeline.card.grab().save(str(IMAGES / name))
    timeline._hover(-1)


def main() -> None:
    """Propose, correct five frames, propose again, fine-tune."""
    IMAGES.mkdir(exist_ok=True)
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    _, segment = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    truth = next(
        x for x in viewer.open_sample("napari-vivim", "ultrasound_phantom") if "truth" in x.name
    ).data
    wait(lambda: segment.controller is not None and segment.controller.session is not None)
    wait(lambda: segment.device.count() > 1 and segment.learning.model.count() > 0)
    segment.controller.go_to(30)
    segment.propose.click()
    wait(lambda: not segment.controller.busy)
    for t in (5, 20, 30, 44, 56):
        segment.controller.session.correct(t, truth[t])
    segment.controller.session.accept(36)
    segment.propose.click()
    wait(lambda: not segment.controller.busy)
    segment.controller.go_to(26)
    picture(viewer, "window.png")
    card(viewer, 26, "frame.png")
    segment.learn.expand()
    segment.learning.learn.click()
    wait(lambda: not segment.controller.busy)
    picture(viewer, "finetune.png")
    viewer.close()


if __name__ == "__main__":
    main()
