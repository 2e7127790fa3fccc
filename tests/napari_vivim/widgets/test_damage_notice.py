"""A damaged session in the window: it opens, says so calmly, leads to the frames, and they can be painted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vivim import Session

from napari_vivim.controller.shortcuts import BY_TITLE, run
from napari_vivim.timeline.timeline_widget import show_timeline


@pytest.fixture
def video(video: Path) -> Path:
    """The phantom with a session of which frames 0 (corrected), 4 and 7 (proposed) are damaged."""
    with Session.open(video) as session:
        mask = np.zeros(session.shape[1:], np.uint8)
        mask[10:30, 10:40] = 1
        for t in range(len(session)):
            session.propose(t, mask, "v1", uncertainty=0.1)
        session.correct(0, mask[::-1])
    chunks = session.folder / "masks.zarr" / "c"
    for t in (0, 4):
        path = chunks / str(t) / "0" / "0"
        path.write_bytes(path.read_bytes()[:20])
    (chunks / "7" / "0" / "0").unlink()
    (session.folder / "lock.holder").write_text("process 1, killed")
    return video


@pytest.fixture
def damaged(segment: Any, qtbot: Any) -> Iterator[Any]:
    """The panel, once the session is compared with its ledger."""
    qtbot.waitUntil(lambda: list(segment.controller.session.damage) == [0, 4, 7], timeout=10000)
    yield segment
    segment.damage.follow(None)


def test_the_masks_layer_appears_and_the_panel_says_which_frames_are_damaged(
    damaged: Any, qtbot: Any
) -> None:
    masks, box = damaged.controller.masks, damaged.damage
    assert masks in damaged.viewer.layers and not np.asarray(masks.data[0]).any()
    qtbot.waitUntil(lambda: "3 frames are damaged: 0, 4, 7. They are kept as yours" in box.text.text())
    assert not box.isHidden() and not box.next.isHidden()
    damaged.controller.go_to(0)
    box.next.click()
    assert damaged.controller.current_frame == 4
    box.next.click()
    box.next.click()
    assert damaged.controller.current_frame == 0


def test_a_damaged_frame_can_be_painted_and_is_then_like_any_other(damaged: Any, qtbot: Any) -> None:
    masks, session, box = damaged.controller.masks, damaged.controller.session, damaged.damage
    for t in (0, 4, 7):
        damaged.controller.go_to(t)
        masks.selected_label = 1
        masks.paint((t, 20, 20), 1)
        assert session.masks[t].any() and session.status(t) == "corrected" and not session.damaged(t)
    qtbot.waitUntil(box.isHidden)
    assert session.verify() == []


def test_a_damaged_frame_can_be_accepted_copied_into_and_reverted_by_key(damaged: Any) -> None:
    session, controller = damaged.controller.session, damaged.controller
    controller.go_to(0)
    run(BY_TITLE["Restore the model's proposal"], controller)
    assert session.status(0) == "proposed" and session.masks[0].any()
    controller.go_to(4)
    run(BY_TITLE["Copy previous"], controller)
    assert session.status(4) == "corrected" and (session.masks[4] == session.masks[3]).all()
    controller.go_to(7)
    run(BY_TITLE["Accept frame"], controller)
    assert session.status(7) == "accepted" and session.damage == {}


def test_nothing_is_copied_from_a_mask_that_cannot_be_read(damaged: Any) -> None:
    session, controller = damaged.controller.session, damaged.controller
    before = np.asarray(session.masks[5])
    controller.go_to(5)
    run(BY_TITLE["Copy previous"], controller)
    assert session.status(5) == "proposed" and (session.masks[5] == before).all()


def test_the_timeline_crosses_damaged_frames_out_and_says_why(damaged: Any, qtbot: Any) -> None:
    timeline = show_timeline(damaged.viewer)
    qtbot.waitUntil(lambda: timeline.view.damaged == [0, 4, 7])
    assert "damaged: its mask cannot be read" in timeline.describe(4)
    assert "damaged: its mask is missing" in timeline.describe(7)
    assert "3&nbsp;damaged" in timeline.legend.toolTip()


def test_a_check_that_is_asked_for_says_how_it_went(damaged: Any, qtbot: Any) -> None:
    box, session = damaged.damage, damaged.controller.session
    box.button.click()
    qtbot.waitUntil(lambda: box.result.text() == "3 damaged frames.", timeout=10000)
    for t in (0, 4, 7):
        session.clear(t)
    box.button.click()
    qtbot.waitUntil(lambda: box.result.text().startswith("All 12 frames are as"), timeout=10000)
    qtbot.waitUntil(box.isHidden)


def test_what_can_be_read_is_kept_by_one_click(damaged: Any, qtbot: Any) -> None:
    box, session = damaged.damage, damaged.controller.session
    qtbot.waitUntil(lambda: not box.isHidden())
    box.keep.click()
    qtbot.waitUntil(lambda: "2 frames are damaged: 0, 4." in box.text.text(), timeout=10000)
    qtbot.waitUntil(lambda: session.status(7) == "corrected" and not session.damaged(7), timeout=10000)


def test_proposing_passes_over_damaged_frames(damaged: Any, fake_model: Any, qtbot: Any) -> None:
    session = damaged.controller.session
    damaged.propose.click()
    qtbot.waitUntil(lambda: not damaged.controller.busy and session.status(1) == "proposed", timeout=10000)
    assert list(session.damage) == [0, 4, 7] and not session.shown(4).any()
