from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QMessageBox,
    QScrollArea,
)
from vivim.errors import SessionError, VideoError
from vivim.session import Session
from vivim.video import make_phantom, write_video

from napari_vivim.qt.components import FocusRing


def propose(segment, qtbot) -> None:
    segment.propose.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=20000)


def test_painting_marks_the_frame_and_undoing_it_all_gives_it_back(segment) -> None:
    session, masks = segment.controller.session, segment.controller.masks
    segment.controller.go_to(3)
    masks.paint((3, 30, 30), 1)
    assert session.status(3) == "corrected" and session.masks[3][30, 30] == 1
    segment.controller.editing.undo()
    assert not session.masks[3].any() and session.status(3) == "empty"
    segment.controller.editing.redo()
    assert session.masks[3][30, 30] == 1 and session.status(3) == "corrected"


def test_what_was_taken_back_stays_so_when_a_model_writes_there(segment, qtbot, fake_model) -> None:
    session, editing = segment.controller.session, segment.controller.editing
    segment.controller.go_to(3)
    segment.controller.masks.paint((3, 60, 60), 1)
    stroke = np.asarray(session.masks[3]).copy()
    editing.undo()
    propose(segment, qtbot)
    proposed = np.asarray(session.masks[3]).copy()
    editing.redo()
    assert np.array_equal(session.masks[3], stroke) and session.status(3) == "corrected"
    editing.undo()
    assert np.array_equal(session.masks[3], proposed) and session.status(3) == "proposed"


def test_erasing_filling_and_polygons_reach_the_session(segment, qtbot, fake_model) -> None:
    propose(segment, qtbot)
    session, masks = segment.controller.session, segment.controller.masks
    segment.controller.go_to(2)
    masks.paint((2, 15, 15), 0)
    assert session.masks[2][15, 15] == 0 and session.status(2) == "corrected"
    segment.controller.go_to(4)
    masks.fill((4, 15, 15), 0)
    assert not session.masks[4].any() and session.status(4) == "corrected"
    segment.controller.go_to(5)
    masks.paint_polygon([[5, 40, 40], [5, 40, 50], [5, 50, 50], [5, 50, 40]], 1)
    assert session.masks[5][45, 45] == 1 and session.status(5) == "corrected"
    assert session.frames_with("corrected") == [2, 4, 5]


def test_a_fill_through_time_corrects_every_frame_it_touches(segment, qtbot, fake_model) -> None:
    propose(segment, qtbot)
    session, masks = segment.controller.session, segment.controller.masks
    masks.n_edit_dimensions = 3
    masks.fill((5, 15, 15), 0)
    assert session.frames_with("corrected") == list(range(12))
    segment.controller.editing.undo()
    qtbot.waitUntil(lambda: not segment.controller.editing.busy)
    assert all(session.masks[t][15, 15] == 1 for t in range(12))


def test_a_proposal_never_touches_a_persons_frame_nor_do_old_strokes_touch_a_proposal(
    segment, qtbot, fake_model
) -> None:
    session, masks = segment.controller.session, segment.controller.masks
    segment.controller.go_to(6)
    masks.paint((6, 50, 50), 1)
    before = np.asarray(session.masks[6]).copy()
    propose(segment, qtbot)
    assert np.array_equal(session.masks[6], before) and session.status(6) == "corrected"
    others = [np.asarray(session.masks[t]).copy() for t in range(12) if t != 6]
    segment.controller.editing.undo()
    assert all(
        np.array_equal(a, session.masks[t]) for a, t in zip(others, [*range(6), *range(7, 12)], strict=True)
    )


def test_the_first_stroke_makes_the_folder_and_survives_reopening(segment, qtbot, video: Path) -> None:
    segment.controller.go_to(1)
    segment.controller.masks.paint((1, 20, 20), 1)
    assert (video.with_name("phantom.mp4.vivim") / "session.json").is_file()
    image = segment.controller.layer
    segment.viewer.layers.remove(image)
    with Session.open(video) as again:  # the lock is free
        assert again.status(1) == "corrected" and again.masks[1][20, 20] == 1
    qtbot.waitUntil(lambda: not segment.viewer.layers)


def test_looking_at_a_video_leaves_no_folder_behind(segment, video: Path) -> None:
    folder = video.with_name("phantom.mp4.vivim")
    segment.controller.go_to(4)
    segment.viewer.layers.remove(segment.controller.layer)
    assert not folder.exists()


def press_key(viewer, key: str) -> None:
    from app_model.types import KeyBinding
    from napari.utils.key_bindings import KeymapHandler

    handler = KeymapHandler()
    handler.keymap_providers = [viewer.layers.selection.active, viewer]
    handler.press_key(KeyBinding.from_str(key))


def test_undo_reaches_back_before_a_restart(
    segment, make_napari_viewer, qtbot, video: Path, fake_model
) -> None:
    propose(segment, qtbot)
    segment.controller.go_to(1)
    segment.controller.masks.paint((1, 40, 40), 1)
    proposed, painted = np.asarray(segment.controller.session.masks[2]), segment.controller.session.masks[1]
    segment.viewer.layers.remove(segment.controller.layer)

    segment.viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller and segment.controller.session is not None, timeout=10000)
    session, masks = segment.controller.session, segment.controller.masks
    segment.viewer.layers.selection.active = masks
    segment.controller.go_to(1)
    masks.paint((1, 50, 50), 1)
    for _ in range(3):
        press_key(segment.viewer, "Ctrl+Z")
    np.testing.assert_array_equal(session.masks[1], proposed)
    np.testing.assert_array_equal(masks.data[1], proposed)
    assert session.status(1) == "proposed"
    press_key(segment.viewer, "Ctrl+Shift+Z")
    np.testing.assert_array_equal(session.masks[1], painted)
    assert session.status(1) == "corrected"


def test_cancel_stops_soon_and_keeps_what_is_done(segment, qtbot, fake_model) -> None:
    fake_model.pause = 0.1
    segment.propose.click()
    session = segment.controller.session
    qtbot.waitUntil(lambda: len(session.frames_with("proposed")) >= 2, timeout=10000)
    segment.progress.cancel.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=2000)
    assert 2 <= len(session.frames_with("proposed")) < 12


def test_accepting_needs_a_mask(segment, qtbot, fake_model) -> None:
    assert not segment.accept.isEnabled()
    propose(segment, qtbot)
    segment.controller.go_to(7)
    segment.accept.click()
    assert segment.controller.session.status(7) == "accepted"


def test_a_folder_that_cannot_be_written_is_said_and_another_is_offered(
    make_napari_viewer, qtbot, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args, **kwargs):
        raise SessionError("Cannot make a session here. Choose a session folder you can write to.")

    monkeypatch.setattr("napari_vivim.controller.video_controller.Session.open", refuse)
    notification_manager.records.clear()
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: any("Choose a session folder" in r.message for r in notification_manager.records))
    qtbot.waitUntil(lambda: not widget.folder.isHidden())
    assert not widget.propose.isEnabled()


def test_without_a_video_the_panel_says_what_to_do(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    qtbot.waitUntil(lambda: not widget.empty.isHidden())
    assert "No video yet" in widget.empty.hint.text() and widget.content.isHidden()


def test_a_first_video_is_one_button_away(make_napari_viewer, qtbot, video, monkeypatch) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    damaged = video.with_name("damaged.mp4")
    damaged.write_bytes(b"no video")
    for path in (damaged, video):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, path=path, **__: (str(path), ""))
        widget.empty.open.click()
        if path is damaged:
            assert "damaged.mp4 cannot be opened" in notification_manager.records[-1].message
            assert "convert it to mp4" in widget.problem.text.text() and not widget.problem.isHidden()
            with pytest.raises(VideoError), notification_manager:  # as where it is dragged onto the window
                viewer.open(str(path), plugin="napari-vivim")
    assert widget.problem.isHidden()  # another video is opened
    qtbot.waitUntil(lambda: widget.controller is not None and widget.controller.video_path == video)
    assert widget.empty.isHidden()


def test_every_control_says_what_it_does(segment) -> None:
    controls = [
        one
        for kind in (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox)
        for one in segment.findChildren(kind)
        if one.objectName() != "qt_spinbox_lineedit"
    ]
    assert len(controls) > 40
    assert [f"{type(one).__name__} {one.text()}" for one in controls if not one.toolTip()] == []


def test_what_is_unfolded_is_scrolled_into_sight(segment, qtbot) -> None:
    window = segment.window()
    window.resize(1000, 400)
    window.show()
    area = segment.findChild(QScrollArea)
    qtbot.mouseClick(segment.export.button, Qt.MouseButton.LeftButton)

    def in_sight() -> bool:
        top = segment.exporting.formats["png"].mapTo(area.viewport(), QPoint(0, 0)).y()
        return 0 <= top <= area.viewport().height()

    qtbot.waitUntil(in_sight, timeout=3000)


def press(qtbot, text: str) -> list[str]:
    """Press the button of the next question whose text begins with `text`; returns what it says, once asked."""
    said: list[str] = []

    def look() -> None:
        box = QApplication.activeModalWidget()
        if not isinstance(box, QMessageBox):
            QTimer.singleShot(50, look)
            return
        said.append(f"{box.text()} {box.informativeText()}")
        next(button for button in box.buttons() if button.text().startswith(text)).click()

    QTimer.singleShot(50, look)
    return said


@pytest.mark.parametrize("answer", ["Same pictures", "Cancel"])
def test_a_video_encoded_anew_is_asked_about(make_napari_viewer, qtbot, video: Path, answer: str) -> None:
    with Session.open(video) as session:
        session.correct(2, np.ones(session.shape[1:], np.uint8))
    video.write_bytes(video.read_bytes() + b"another encoder was here")
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    said = press(qtbot, answer)
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: bool(said), timeout=10000)
    assert "encoded anew" in said[0]
    if answer == "Cancel":
        qtbot.waitUntil(lambda: not widget.controller.busy)
        assert widget.controller.session is None and not widget.folder.isHidden()
    else:
        qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=10000)
        assert widget.controller.session.status(2) == "corrected"


def test_a_longer_video_in_the_same_place_keeps_its_masks_elsewhere(
    make_napari_viewer, qtbot, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session.open(video) as session:
        session.correct(2, np.ones(session.shape[1:], np.uint8))
    write_video(video, make_phantom(15, size=(64, 64)).frames, 20.0)
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(
        "napari_vivim.widgets.segment_widget.QFileDialog.getExistingDirectory",
        lambda *args: str(tmp_path / "other"),
    )
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    said = press(qtbot, "Another video")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: widget.controller and widget.controller.session is not None, timeout=10000)
    assert "another number of frames" in said[0]
    assert widget.controller.session.folder == tmp_path / "other" / "phantom.mp4.vivim"
    assert len(widget.controller.session) == 15


def test_a_renamed_video_goes_on_with_its_masks(make_napari_viewer, qtbot, video: Path) -> None:
    with Session.open(video) as session:
        session.correct(2, np.ones(session.shape[1:], np.uint8))
    video.rename(video.with_name("renamed.mp4"))
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(session.folder), plugin="napari-vivim")
    qtbot.waitUntil(lambda: widget.controller and widget.controller.session is not None, timeout=10000)
    assert widget.controller.session.status(2) == "corrected"
    assert viewer.layers[0].name == "renamed"


def test_undo_takes_the_accepting_back_before_the_stroke(segment) -> None:
    session, controller = segment.controller.session, segment.controller
    for t in (3, 4):
        session.propose(t, np.ones(session.shape[1:], np.uint8), "model")
    controller.go_to(4)
    controller.masks.paint((4, 30, 30), 0)
    controller.go_to(3)
    controller.editing.accept()
    controller.editing.undo()
    assert session.status(3) == "proposed" and session.masks[4][30, 30] == 0
    controller.editing.undo()
    assert session.status(4) == "proposed" and session.masks[4].all()


def test_a_step_shows_when_it_can_be_used(segment, qtbot, fake_model) -> None:
    assert not segment.review.isHidden() and not segment.export.isHidden()
    assert segment.learn.isHidden()  # nothing to learn from yet
    segment.controller.session.correct(3, np.ones(segment.controller.session.shape[1:], np.uint8))
    qtbot.waitUntil(lambda: not segment.learn.isHidden())
    assert segment.learning.isHidden()
    segment.learn.button.click()
    assert not segment.learning.isHidden() and segment.learning.learn.isEnabled()
    assert segment.learning.controller is segment.exporting.controller is segment.controller


def test_nothing_is_cut_off_in_any_theme(segment, qtbot) -> None:
    for part in (segment.learn, segment.export):
        part.show()
        part.expand()
    area = segment.findChild(QScrollArea)
    for theme in ("dark", "light"):
        segment.viewer.theme = theme
        bar = area.verticalScrollBar().sizeHint().width()
        assert area.widget().minimumSizeHint().width() + bar <= segment.minimumWidth(), theme


def test_of_several_videos_only_the_chosen_one_is_shown(segment, qtbot, video: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    first = segment.controller
    segment.viewer.open(str(other), plugin="napari-vivim")
    second = segment.controller
    assert second is not first
    qtbot.waitUntil(lambda: second.session is not None, timeout=10000)
    shown = [layer.name for layer in segment.viewer.layers if layer.visible]
    assert shown == ["other", "other masks"]
    segment.video.setCurrentIndex(0)
    assert [layer.name for layer in segment.viewer.layers if layer.visible] == ["phantom", "phantom masks"]
    assert segment.viewer.layers.selection.active.name == first.masks.name
    first.masks.visible = False  # by the person
    for index in (1, 0):
        segment.video.setCurrentIndex(index)
    assert [layer.name for layer in segment.viewer.layers if layer.visible] == ["phantom"]


def test_a_shorter_video_is_shown_at_its_end_rather_than_beyond(segment, qtbot, tmp_path: Path) -> None:
    phantom = make_phantom(frames=4, size=(64, 64))
    write_video(tmp_path / "short.mp4", phantom.frames, phantom.fps)
    first = segment.controller
    first.go_to(9)
    segment.viewer.open(str(tmp_path / "short.mp4"), plugin="napari-vivim")
    assert segment.controller is not first and segment.controller.current_frame == 3
    qtbot.waitUntil(lambda: segment.controller.session is not None, timeout=10000)


def test_a_video_of_another_size_is_fitted_and_one_of_the_same_size_leaves_the_camera(
    segment, qtbot, video: Path, tmp_path: Path
) -> None:
    viewer, phantom = segment.viewer, make_phantom(frames=4, size=(96, 128))
    write_video(tmp_path / "large.mp4", phantom.frames, phantom.fps)
    (tmp_path / "same.mp4").write_bytes(video.read_bytes())
    for name in ("large", "same"):
        viewer.open(str(tmp_path / f"{name}.mp4"), plugin="napari-vivim")
    camera = getattr(viewer, "scene", viewer).camera
    segment.video.setCurrentIndex(1)
    np.testing.assert_allclose(camera.center[-2:], (47.5, 63.5), atol=1)
    far = camera.zoom
    segment.video.setCurrentIndex(0)
    np.testing.assert_allclose(camera.center[-2:], (31.5, 31.5), atol=1)
    assert camera.zoom > far
    camera.zoom = 9.0  # by the person
    segment.video.setCurrentIndex(2)
    assert camera.zoom == 9.0


def test_what_has_the_keyboard_is_framed(segment, qtbot) -> None:
    window = segment.window()
    window.show()
    with qtbot.waitActive(window):
        window.activateWindow()
    ring = segment.findChild(FocusRing)
    for control in (segment.model, segment.next):
        control.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(lambda control=control: ring.isVisible() and ring.widget() is control)
        frame = QRect(ring.mapToGlobal(QPoint(0, 0)), ring.size())
        assert frame.contains(QRect(control.mapToGlobal(QPoint(0, 0)), control.size()))
    window.setFocus()
    qtbot.waitUntil(ring.isHidden)


def test_a_signal_of_the_video_is_heard_once(segment, qtbot, monkeypatch) -> None:
    heard: list[str] = []
    assert [signal for signal, _ in segment._connections].count(segment.controller.model_made) == 1
    monkeypatch.setattr(segment.choices._worker, "submit", lambda job: heard.append("asked"))
    segment.controller.model_made.emit("starter")
    assert heard == ["asked"]
