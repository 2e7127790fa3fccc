"""The strip of all frames: what a column of pixels shows when it stands for many frames."""

from __future__ import annotations

import numpy as np
from vivim.session.ledger import STATUS_CODES

from napari_vivim.status_strip import StatusStrip


def test_no_corrected_frame_and_no_doubt_disappears_in_a_long_video(qtbot) -> None:
    strip = StatusStrip()
    qtbot.addWidget(strip)
    codes = np.full(20_000, STATUS_CODES["proposed"], np.uint8)
    unsure = np.full(20_000, 0.1, np.float32)
    codes[12_345], unsure[7_777], unsure[:100] = STATUS_CODES["corrected"], 0.9, np.nan
    strip.set_frames(codes, unsure)
    shown, doubt = strip.columns(250)
    assert np.flatnonzero(shown == STATUS_CODES["corrected"]).tolist() == [12_345 // 80]
    assert np.argmax(np.nan_to_num(doubt)) == 7_777 // 80 and np.isnan(doubt[0])
    assert len(shown) == len(doubt) == 250


def test_a_status_is_told_by_height_too(qtbot) -> None:
    strip = StatusStrip()
    qtbot.addWidget(strip)
    strip.resize(80, strip.height())
    strip.set_frames(np.arange(4, dtype=np.uint8), np.full(4, np.nan, np.float32))
    picture = strip.grab().toImage()
    background = picture.pixel(79, 1)
    heights = [
        sum(picture.pixel(x, y) != background for y in range(30, picture.height())) for x in (15, 25, 45, 65)
    ]
    assert len(set(heights[1:])) == 3
