"""What a jump shows, and that nobody but the eye ever gets a preview."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from vivim import open_video
from vivim.errors import VideoError
from vivim.video import make_phantom, write_video

from napari_vivim import readers
from napari_vivim.layers.video_frames import Scrubbing
from napari_vivim.qt.napari_window import canvas_message

FAR = 50


@pytest.fixture
def video(tmp_path: Path) -> Path:
    phantom = make_phantom(60, size=(64, 80))
    return write_video(tmp_path / "a.mp4", phantom.frames, 25.0)


def test_a_jump_shows_a_preview_and_then_the_exact_frame(
    make_napari_viewer, qtbot, video: Path, monkeypatch
) -> None:
    viewer = make_napari_viewer()
    [(data, options, _)] = readers.read(video)
    layer = viewer.add_layer(Image(data, **options))
    truth = np.stack(list(open_video(video).frames(0, 60)))
    gate, fetch = threading.Event(), data.video.fetch
    monkeypatch.setattr(data.video, "fetch", lambda i, stop: gate.wait(60) and fetch(i, stop))
    scrubbing = Scrubbing(viewer, layer)
    viewer.dims.set_current_step(0, FAR)
    asked, shown = data.shown
    assert asked == FAR and shown != FAR
    said = canvas_message(viewer.window._qt_window)
    assert not said.isHidden() and str(FAR) in said.text()
    assert not np.array_equal(layer._slice.image.raw, truth[FAR])
    np.testing.assert_array_equal(data[FAR], truth[FAR])  # asked outside a move of the slider: the truth
    gate.set()
    qtbot.waitUntil(lambda: np.array_equal(layer._slice.image.raw, truth[FAR]), timeout=5000)
    assert said.isHidden()
    scrubbing.close()
    viewer.dims.set_current_step(0, 7)
    np.testing.assert_array_equal(layer._slice.image.raw, truth[7])


def test_closing_waits_for_no_frame_and_lets_go_of_the_video(
    make_napari_viewer, qtbot, video: Path, monkeypatch
) -> None:
    viewer = make_napari_viewer()
    [(data, options, _)] = readers.read(video)
    layer = viewer.add_layer(Image(data, **options))
    begun, gate = threading.Event(), threading.Event()

    def stalled(i: int, stop: object) -> None:
        begun.set()
        gate.wait(60)
        raise VideoError("The disk has not answered.")

    monkeypatch.setattr(data.video, "fetch", stalled)
    scrubbing = Scrubbing(viewer, layer)
    scrubber, thread = weakref.ref(scrubbing._scrubber), scrubbing._scrubber._thread
    viewer.dims.set_current_step(0, FAR)
    assert begun.wait(60)
    scrubbing.close()
    assert thread.is_alive()
    gate.set()
    thread.join(60)
    qtbot.wait(20)
    assert not thread.is_alive() and canvas_message(viewer.window._qt_window).isHidden()
    gc.collect()
    assert scrubber() is None
