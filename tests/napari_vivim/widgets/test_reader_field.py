"""Two readers at one window: each sees their own masks alone, and the window goes on as the last one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vivim
from qtpy.QtWidgets import QInputDialog
from vivim import Session
from vivim.settings import settings


def become(segment: Any, qtbot: Any, name: str) -> Any:
    """Type a reader's name, and wait until their session is open."""
    segment.reader.name.setText(name)
    segment.reader.name.returnPressed.emit()
    qtbot.waitUntil(
        lambda: segment.controller.session is not None and not segment.controller.busy, timeout=10000
    )
    return segment.controller.session


def test_each_reader_sees_their_own_masks_alone(segment: Any, qtbot: Any, video: Path) -> None:
    segment.controller.masks.paint((0, 20, 20), 1)
    assert segment.reader.name.text() == "default"
    anna = become(segment, qtbot, "anna")
    assert anna.reader == "anna" and not np.asarray(segment.controller.masks.data[0]).any()
    assert len([layer for layer in segment.viewer.layers if layer.name.endswith("masks")]) == 1
    segment.controller.masks.paint((3, 30, 30), 1)
    qtbot.waitUntil(lambda: anna.status(3) == "corrected", timeout=10000)
    again = become(segment, qtbot, "")
    assert again.reader == segment.reader.name.text() == "default"
    assert again.status(0) == "corrected" and again.status(3) == "empty"
    assert vivim.readers_of(video) == ["default", "anna"]


def test_the_reader_stays_for_the_next_video(segment: Any, qtbot: Any, video: Path, tmp_path: Path) -> None:
    become(segment, qtbot, "anna")
    assert settings().reader == "anna"
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    segment.viewer.open(str(other), plugin="napari-vivim")
    qtbot.waitUntil(
        lambda: segment.session is not None and segment.controller.video_path == other, timeout=10000
    )
    assert segment.session.reader == segment.reader.name.text() == "anna"


def test_a_name_that_cannot_be_is_said_and_not_kept(segment: Any, qtbot: Any) -> None:
    segment.reader.name.setText("a/b")
    segment.reader.name.returnPressed.emit()
    qtbot.waitUntil(lambda: "cannot be the name of a reader" in segment.problem.text.text(), timeout=10000)
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert settings().reader == "default"
    assert become(segment, qtbot, "b").reader == "b"


def test_a_job_under_way_ends_before_the_other_reader_begins(segment: Any, qtbot: Any, fake_model) -> None:
    fake_model.pause = 0.05
    first = segment.session
    segment.propose.click()
    qtbot.waitUntil(lambda: bool(first.frames_with("proposed")), timeout=10000)
    anna = become(segment, qtbot, "anna")
    assert anna.reader == "anna" and not anna.statuses.any()


def test_a_frame_gets_tags_from_the_menu(segment: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session, tags = segment.session, segment.tags
    segment.controller.go_to(0)
    assert tags.text() == "Tags"
    actions = _menu(tags)
    assert list(actions) == ["ignore", "unusable", "uncertain", "Other ..."]
    actions["ignore"].trigger()
    assert session.tags(0) == ("ignore",) and tags.text() == "Tags: ignore"
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("<b>shaky</b> & dark", True))
    _menu(tags)["Other ..."].trigger()
    assert session.tags(0) == ("<b>shaky</b> & dark", "ignore")
    segment.controller.go_to(4)
    qtbot.waitUntil(lambda: tags.text() == "Tags", timeout=10000)
    session.clear(4)
    qtbot.waitUntil(lambda: tags.text() == "Tags: no lesion", timeout=10000)
    segment.controller.go_to(0)
    assert _menu(tags)["ignore"].isChecked()
    _menu(tags)["ignore"].trigger()
    assert session.tags(0) == ("<b>shaky</b> & dark",)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_: ("x" * 200, True))
    _menu(tags)["Other ..."].trigger()
    assert "1 to 100 characters" in segment.problem.text.text()


def test_long_tags_are_cut_short_and_read_in_full_on_the_tooltip(segment: Any, qtbot: Any) -> None:
    segment.controller.go_to(0)
    segment.session.tag(0, "shaky & <i>dark</i> where the probe was lifted")
    segment.tags.resize(140, 24)
    segment.tags.show_frame()
    assert segment.tags.text().startswith("Tags: shaky && ") and segment.tags.text().endswith("…")
    assert "the probe was lifted" in segment.tags.toolTip() and "&lt;i&gt;" in segment.tags.toolTip()


def test_a_locked_session_is_shown_as_read_only(segment: Any, qtbot: Any, video: Path) -> None:
    with Session.open(video, reader="b") as session:
        session.correct(0, np.ones(session.shape[1:], np.uint8))
        for state in ("submitted", "approved", "locked"):
            session.set_state(state)
    become(segment, qtbot, "b")
    assert "read-only" in segment.info.text() and not segment.controller.masks.editable
    assert segment.review.isHidden() and not segment.propose.isEnabled()


def _menu(tags: Any) -> dict[str, Any]:
    tags.menu().aboutToShow.emit()
    return {action.text(): action for action in tags.menu().actions()}
