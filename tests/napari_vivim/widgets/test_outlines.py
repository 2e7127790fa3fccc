"""Small pictures with outlines."""

from __future__ import annotations

import numpy as np
from vivim.imaging.drawing import outlined
from vivim.settings import Settings


def test_every_class_is_outlined_in_its_colour(monkeypatch) -> None:
    monkeypatch.setattr("vivim.imaging.drawing.settings", lambda: Settings(own_colors="#ff0000, #0000ff"))
    mask = np.zeros((200, 200), np.uint8)
    mask[20:80, 20:80], mask[100:180, 100:180] = 1, 2
    picture = np.zeros((100, 100, 3), np.uint8)
    shown = outlined(picture, mask)
    for (y, x), channel in (((10, 25), 0), ((50, 70), 2)):
        assert shown[y, x, channel] > 200 and shown[y, x].sum() == shown[y, x, channel]
    assert not shown[25, 25].any() and not picture.any()  # inside, and the picture given
