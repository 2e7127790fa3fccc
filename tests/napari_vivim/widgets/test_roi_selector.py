"""The offer to let models see a part of the picture only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vivim.video import make_phantom, write_video

AREA = (16, 32, 80, 96)


@pytest.fixture(scope="module")
def phantom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with a black border."""
    frames = np.zeros((12, 96, 128, 3), np.uint8)
    frames[:, 16:80, 32:96] = make_phantom(12, size=(64, 64)).frames[..., None]
    return write_video(tmp_path_factory.mktemp("video") / "phantom.mp4", frames, 20.0)


def test_the_area_is_found_used_and_dragged(segment, qtbot) -> None:
    session, viewer = segment.controller.session, segment.viewer
    qtbot.waitUntil(lambda: not segment.area.isHidden(), timeout=10000)
    assert not segment.area.isChecked() and session.area is None
    segment.area.click()
    np.testing.assert_allclose(session.area, AREA, atol=6)
    (name,) = [layer.name for layer in viewer.layers if layer.name.endswith("area")]
    assert viewer.layers.selection.active.name == segment.controller.masks.name
    layer = viewer.layers[name]
    layer.data = [np.array([[20, 40], [20, 89], [69, 89], [69, 40]], float)]
    assert session.area == (20, 40, 70, 90) and "50 x 50" in segment.area.text()
    segment.area.click()
    assert session.area is None
    qtbot.waitUntil(lambda: name not in viewer.layers)
    segment.area.click()
    assert session.area == (20, 40, 70, 90)


def test_it_is_remembered_with_the_session(segment, qtbot, make_napari_viewer) -> None:
    qtbot.waitUntil(lambda: not segment.area.isHidden(), timeout=10000)
    segment.area.click()
    segment.controller.masks.paint((1, 40, 60), 1)
    path = segment.controller.video_path
    segment.viewer.layers.remove(segment.controller.layer)
    assert segment.area.isHidden()
    segment.viewer.open(str(path), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not None and segment.controller.session is not None)
    assert segment.area.isChecked() and any(layer.name.endswith("area") for layer in segment.viewer.layers)
