"""What the window does by itself: who has the keyboard, what is in sight, what a person is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.key_bindings import KeyBinding
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QColorDialog,
    QDockWidget,
    QInputDialog,
    QLineEdit,
    QListWidget,
    QScrollArea,
    QWidget,
)
from vivim.errors import ExportError, VivimError
from vivim.io.export import FILES
from vivim.session import Session
from vivim.settings import PALETTES
from vivim.video import make_phantom, write_video

from napari_vivim.controller.mask_editing import worth_correcting
from napari_vivim.controller.shortcuts import BY_TITLE, run
from napari_vivim.qt.napari_window import main_window, picture_of
from napari_vivim.timeline.timeline_widget import show_timeline
from napari_vivim.widgets.edit_toolbar import shortcut_overlay

TYPED = QLineEdit, QAbstractSpinBox


def shown(segment: Any, qtbot: Any, size: tuple[int, int] = (1280, 800)) -> Any:
    window = main_window(segment.viewer)
    window.resize(*size)
    window.show()
    with qtbot.waitActive(window):
        window.activateWindow()
    return window


def on_picture(window: Any) -> bool:
    focus = QApplication.focusWidget()
    return focus is not None and picture_of(window).isAncestorOf(focus)


def opened(make_napari_viewer: Any, qtbot: Any, path: Path) -> Any:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(path), plugin="napari-vivim")
    qtbot.waitUntil(lambda: widget.controller is not None and widget.controller.session is not None)
    return widget


# -- the keyboard ------------------------------------------------------------------------------------------------------


def test_a_click_in_the_dock_takes_no_key_from_the_picture(segment: Any, qtbot: Any) -> None:
    window = shown(segment, qtbot)
    for part in (segment.learn, segment.export):
        part.show()
        part.expand()
    inputs = [one for one in segment.findChildren(QWidget) if not isinstance(one, TYPED)]
    lists = [one for one in inputs if isinstance(one, QListWidget)]
    assert lists and not [one for one in inputs if one.focusPolicy().value & Qt.FocusPolicy.ClickFocus.value]
    qtbot.mouseClick(picture_of(window), Qt.MouseButton.LeftButton)
    for one in (segment.next, segment.prompts.follow, segment.learning.scope, segment.export.button):
        qtbot.mouseClick(one, Qt.MouseButton.LeftButton)
        focus = QApplication.focusWidget()
        assert focus is None or not segment.isAncestorOf(focus), one
        one.hidePopup() if hasattr(one, "hidePopup") else None


def test_who_has_typed_gives_the_keys_back_with_enter_or_the_next_click(segment: Any, qtbot: Any) -> None:
    window = shown(segment, qtbot)
    segment.export.show()
    segment.export.expand()
    field = segment.exporting.range
    for end in (lambda: qtbot.keyClick(field, Qt.Key.Key_Return), segment.next.click):
        field.setFocus()
        qtbot.waitUntil(field.hasFocus)
        end()
        qtbot.waitUntil(lambda: on_picture(window))


def test_the_picture_has_the_keys_when_a_job_ends(segment: Any, qtbot: Any, fake_model: Any) -> None:
    window = shown(segment, qtbot)
    segment.propose.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(segment.propose.hasFocus)
    segment.propose.click()
    qtbot.waitUntil(lambda: not segment.controller.busy)
    qtbot.waitUntil(lambda: on_picture(window))


def test_accepting_never_makes_less_of_a_corrected_frame(segment: Any) -> None:
    controller = segment.controller
    controller.go_to(3)
    controller.masks.paint((3, 30, 30), 1)
    steps = controller.session.undo_frames()
    run(BY_TITLE["Accept frame"], controller)
    assert controller.session.status(3) == "corrected" and controller.session.undo_frames() == steps
    assert "is corrected" in notification_manager.records[-1].message


# -- what is in sight --------------------------------------------------------------------------------------------------


def in_sight(layer: Any) -> bool:
    corners = layer.corner_pixels[:, 1:3]
    return bool((corners[0] == 0).all() and (corners[1] == np.array(layer.data.shape[1:3]) - 1).all())


@pytest.mark.parametrize("touched", [False, True])
def test_the_first_landscape_video_is_whole_until_the_person_moves_the_camera(
    make_napari_viewer: Any, qtbot: Any, tmp_path: Path, touched: bool
) -> None:
    path = write_video(tmp_path / "wide.mp4", make_phantom(4, size=(64, 192)).frames, 20.0)
    viewer = make_napari_viewer()
    window = main_window(viewer)
    window.resize(1280, 800)
    with qtbot.waitExposed(window):
        window.show()
    qtbot.wait(50)  # its places are laid out
    viewer.open(str(path), plugin="napari-vivim")
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 2)
    dock = viewer.window.dock_widgets["Vivim Segment (napari-vivim)"]
    qtbot.waitUntil(lambda: dock.controller is not None and dock.controller.session is not None)
    qtbot.waitUntil(lambda: in_sight(viewer.layers[0]), timeout=5000)
    camera = getattr(viewer, "scene", viewer).camera
    if touched:
        camera.zoom *= 1.3
    before = camera.zoom
    window.resize(900, 700)
    qtbot.waitUntil(lambda: in_sight(viewer.layers[0]) != touched)
    qtbot.wait(200)
    assert (camera.zoom == before) == touched and in_sight(viewer.layers[0]) != touched


def test_closing_one_of_two_videos_shows_the_other_and_no_bar_of_the_closed_one(
    segment: Any, qtbot: Any, tmp_path: Path, fake_model: Any
) -> None:
    viewer, first = segment.viewer, segment.controller
    path = write_video(tmp_path / "other.mp4", make_phantom(4, size=(64, 64)).frames, 20.0)
    viewer.open(str(path), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not first and segment.controller.session is not None)
    fake_model.pause = 0.2
    segment.propose.click()
    qtbot.waitUntil(lambda: not segment.progress.isHidden())
    viewer.layers.remove(segment.controller.layer)
    qtbot.waitUntil(lambda: segment.controller is first)
    assert first.layer.visible and first.masks.visible and segment.progress.isHidden()
    qtbot.waitUntil(lambda: list(viewer.layers) == [first.layer, first.masks])


@pytest.mark.parametrize("masks_first", [False, True])
def test_video_and_masks_are_deleted_together(segment: Any, qtbot: Any, masks_first: bool) -> None:
    viewer, controller = segment.viewer, segment.controller
    segment.apart.click()
    if masks_first:
        viewer.layers.move(0, len(viewer.layers))
    viewer.layers.selection = {controller.layer, controller.masks}
    viewer.layers.remove_selected()
    qtbot.waitUntil(lambda: not viewer.layers)
    assert segment.controller is None or segment.controller.session is None


def test_a_session_is_taken_up_where_it_was_left(make_napari_viewer: Any, qtbot: Any, video: Path) -> None:
    with Session.open(video) as session:
        for t in (2, 9, 7):
            session.correct(t, np.ones(session.shape[1:], np.uint8))
    assert opened(make_napari_viewer, qtbot, video).controller.current_frame == 7


def test_why_a_frame_was_suggested_is_said_there_alone_and_moves_nothing(segment: Any, qtbot: Any) -> None:
    shown(segment, qtbot)
    segment.review.expand()
    qtbot.waitUntil(segment.next.isVisible)
    qtbot.waitUntil(lambda: segment.next.y() > 0)
    place = segment.next.mapTo(segment, QPoint(0, 0))
    segment.next.click()
    frame = segment.controller.current_frame
    assert segment.reason.text().startswith(f"Frame {frame}: ")
    qtbot.wait(50)
    assert segment.next.mapTo(segment, QPoint(0, 0)) == place
    segment.controller.go_to((frame + 3) % 12)
    assert not segment.reason.text()
    segment.back.click()
    segment.next.click()
    segment.controller.masks.paint((segment.controller.current_frame, 30, 30), 1)
    assert not segment.reason.text()


def test_every_dock_has_a_name_by_which_the_window_remembers_its_place(segment: Any, qtbot: Any) -> None:
    show_timeline(segment.viewer)
    docks = main_window(segment.viewer).findChildren(QDockWidget)
    assert len(docks) >= 4 and all(dock.objectName() for dock in docks)


def test_large_areas_are_written_out(segment: Any) -> None:
    timeline = show_timeline(segment.viewer)
    timeline.unit = "mm²"
    texts = [timeline._area_text(area) for area in (2740.4, 99.94, 0.1234)]
    assert texts == ["2740 mm²", "99.9 mm²", "0.123 mm²"]


def test_escape_closes_the_table_of_keys(segment: Any, qtbot: Any) -> None:
    window = shown(segment, qtbot)
    overlay = shortcut_overlay(window)
    overlay.toggle()
    qtbot.waitUntil(overlay.isVisible)
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    qtbot.waitUntil(overlay.isHidden)


def test_one_step_is_open_and_its_main_action_is_in_sight_without_scrolling(
    segment: Any, qtbot: Any, fake_model: Any
) -> None:
    shown(segment, qtbot)
    area = segment.findChild(QScrollArea)
    mains = segment.propose, segment.next, segment.learning.learn, segment.exporting.write

    def in_use() -> list[QWidget]:
        return [one for one in mains if one.isVisible() and segment.rect().contains(one.geometry().center())]

    qtbot.waitUntil(lambda: in_use() == [segment.propose])
    segment.propose.click()
    qtbot.waitUntil(lambda: not segment.controller.busy and in_use() == [segment.next])  # what comes next
    segment.controller.session.correct(3, np.ones((64, 64), np.uint8))
    qtbot.waitUntil(lambda: not segment.learn.isHidden())
    for step, main in zip(
        (segment.proposing, segment.review, segment.learn, segment.export), mains, strict=True
    ):
        step.button.click()
        qtbot.waitUntil(lambda main=main: in_use() == [main])
        qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() == 0)
    viewer = segment.viewer
    viewer.layers.remove(segment.controller.layer)
    qtbot.waitUntil(lambda: not segment.foot.isVisible() and segment.empty.sample.isVisible())


def test_pictures_lie_on_a_dark_ground_in_the_light_theme(segment: Any) -> None:
    segment.viewer.theme = "light"
    assert tuple(segment.viewer.canvas.background_color[:3]) == (0, 0, 0)


# -- what is offered ---------------------------------------------------------------------------------------------------


def test_each_video_remembers_its_model(segment: Any, qtbot: Any, tmp_path: Path) -> None:
    from vivim.registry.registry import add_classes

    add_classes("starter", ["fold", "glottis"], "tuned")
    first = segment.controller
    first.model_made.emit("tuned")
    qtbot.waitUntil(lambda: segment.model.currentText() == "tuned")
    assert segment.learning.model is segment.model
    path = write_video(tmp_path / "other.mp4", make_phantom(4, size=(64, 64)).frames, 20.0)
    segment.viewer.open(str(path), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not first and segment.controller.session is not None)
    qtbot.waitUntil(lambda: segment.model.currentText() == "starter")
    segment.video.setCurrentIndex(0)
    qtbot.waitUntil(lambda: segment.model.currentText() == "tuned")


def test_a_session_remembers_its_model(make_napari_viewer: Any, qtbot: Any, video: Path) -> None:
    from vivim.registry.registry import add_classes

    version = add_classes("starter", ["fold", "glottis"], "tuned").version
    with Session.open(video) as session:
        session.propose(2, np.ones(session.shape[1:], np.uint8), version)
    segment = opened(make_napari_viewer, qtbot, video)
    qtbot.waitUntil(lambda: segment.model.currentText() == "tuned")


def test_dicom_seg_is_off_with_the_reason_where_the_video_is_no_dicom_file(segment: Any) -> None:
    box = segment.exporting.formats["dicom-seg"]
    assert not box.isEnabled() and not box.isChecked() and "not one DICOM file" in box.toolTip()


def test_a_format_that_fails_takes_nothing_from_the_others(segment: Any, qtbot: Any, tmp_path: Path) -> None:
    segment.controller.session.correct(3, np.ones((64, 64), np.uint8))
    exporting = segment.exporting
    exporting.target.setText(str(tmp_path / "out"))
    failed: list[VivimError] = []
    segment.controller.job_failed.connect(lambda name, error: failed.append(error))
    segment.controller.export(tmp_path / "out", ["png", "dicom-seg", "tiff"])
    qtbot.waitUntil(lambda: not segment.controller.busy)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {FILES["png"], FILES["tiff"]}
    (error,) = failed
    assert isinstance(error, ExportError) and "one DICOM file" in str(error)
    assert str(error).startswith(f"{FILES['png']}, {FILES['tiff']} written. Not {FILES['dicom-seg']}: ")
    assert not exporting.open.isHidden()
    segment.controller.export(tmp_path / "none", ["dicom-seg"])
    qtbot.waitUntil(lambda: not segment.controller.busy)
    assert str(failed[-1]).startswith("A DICOM Segmentation") and exporting.open.isHidden()


def test_a_session_that_is_open_elsewhere_can_be_looked_at(
    make_napari_viewer: Any, qtbot: Any, video: Path, tmp_path: Path
) -> None:
    with Session.open(video) as session:
        session.correct(2, np.ones(session.shape[1:], np.uint8))
        viewer = make_napari_viewer()
        _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
        viewer.open(str(video), plugin="napari-vivim")
        qtbot.waitUntil(lambda: not widget.read.isHidden())
        timeline = show_timeline(viewer)  # it asks for the session once more
        qtbot.waitUntil(lambda: timeline.legend.text() == "The work on this video is not open")
        qtbot.waitUntil(lambda: not widget.read.isHidden())
        widget.read.click()
        qtbot.waitUntil(lambda: widget.controller.session is not None)
        qtbot.waitUntil(lambda: not widget.controller.busy)
        assert widget.read.isHidden() and "read-only" in widget.info.text()
        assert not widget.controller.masks.editable and widget.review.isHidden()
        assert not widget.propose.isEnabled() and not widget.exporting.take_file.isEnabled()
        assert widget.controller.session.masks[2].all()
        widget.controller.export(tmp_path / "out", ["png"])
        qtbot.waitUntil(lambda: not widget.controller.busy)
        assert (tmp_path / "out" / FILES["png"]).is_dir()


def test_the_second_frame_to_correct_is_at_the_end_that_the_model_is_unsure_of(segment: Any) -> None:
    session = segment.controller.session
    for t in range(12):
        session.propose(t, np.ones((64, 64), np.uint8), "v1", uncertainty=2.0 - t if t < 3 else 0.1)
    frames = []
    for _ in range(3):
        segment.next.click()
        frames.append(segment.controller.current_frame)
    assert frames[1] == 0 and 0 < frames[0] < 11 and len(set(frames)) == 3
    segment.back.click()
    assert "unsure at this end" in segment.reason.text()
    assert [one.frame for one in worth_correcting(session, 3)] == frames


def test_classes_are_added_named_and_coloured_in_the_dock(
    segment: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    legend, session, masks = segment.classes, segment.controller.session, segment.controller.masks
    says = iter([("vessel", True), ("vessel", True), ("", True), ("cyst", True)])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: next(says))
    legend.add.click()
    assert session.classes == ("lesion", "vessel") and masks.selected_label == 2
    legend.add.click()  # the name is taken
    assert session.classes == ("lesion", "vessel") and "differ" in segment.problem.text.text()
    legend.add.click()  # no name
    legend._rename(1)
    assert session.classes == ("cyst", "vessel") and legend._group.button(1).text().endswith("cyst")
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    legend._recolour(2)
    qtbot.waitUntil(lambda: QColor.fromRgbF(*map(float, masks.get_color(2)[:3])).name() == "#123456")
    assert QColor.fromRgbF(*map(float, masks.get_color(1)[:3])).name() == PALETTES["vivid"][0]


def test_numbers_choose_a_class_while_prompting_and_a_tool_otherwise(segment: Any) -> None:
    controller = segment.controller
    controller.name_classes(("lesion", "vessel"))
    masks, key = controller.masks, {n: KeyBinding.from_str(str(n)) for n in (1, 2, 3)}
    assert key[2] not in masks.keymap
    controller.prompting.start()
    for number, chosen in ((2, 2), (3, 2), (1, 1)):
        masks.keymap[key[number]](masks)
        assert masks.selected_label == chosen
    controller.prompting.stop()
    assert key[2] not in masks.keymap
