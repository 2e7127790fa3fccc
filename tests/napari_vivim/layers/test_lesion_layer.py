"""Lesions told apart in the window."""

from __future__ import annotations

import numpy as np


def two(session, shift: int) -> np.ndarray:
    mask = np.zeros(session.shape[1:], np.uint8)
    mask[10:20, 5 + shift : 15 + shift] = 1
    mask[40:50, 40 - shift : 50 - shift] = 1
    return mask


def test_lesions_keep_their_numbers_while_they_are_corrected(segment, qtbot) -> None:
    controller = segment.controller
    session = controller.session
    for t in range(12):
        session.propose(t, two(session, t), "v")
    controller.go_to(11)
    segment.apart.click()
    layer = controller.lesions.layer
    assert segment.viewer.layers.selection.active.name == controller.masks.name and not layer.editable
    qtbot.waitUntil(lambda: bool(layer.data[11].any()), timeout=5000)
    for t in range(12):
        assert layer.data[t][15, 10 + t] == 1 and layer.data[t][45, 45 - t] == 2
    qtbot.waitUntil(lambda: int(layer._slice.image.raw[15, 21]) == 1)
    controller.masks.paint((11, 30, 10), 1)
    qtbot.waitUntil(lambda: layer.data[11].max() == 3, timeout=5000)
    qtbot.waitUntil(lambda: int(layer._slice.image.raw.max()) == 3)
    segment.apart.click()
    assert controller.lesions is None
    qtbot.waitUntil(lambda: layer not in segment.viewer.layers)


def test_the_layer_goes_with_the_video_or_by_hand(segment, qtbot) -> None:
    segment.apart.click()
    segment.viewer.layers.remove(segment.controller.lesions.layer)
    assert not segment.apart.isChecked() and segment.controller.lesions is None
    segment.apart.click()
    segment.viewer.layers.remove(segment.controller.layer)
    qtbot.waitUntil(lambda: not segment.viewer.layers)
