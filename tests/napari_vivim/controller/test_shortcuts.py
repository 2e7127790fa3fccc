"""Corrections of a whole mask in the window: through the gate, undone in their turn, by keys that clash with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Points, Shapes
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeyBinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from vivim.imaging import morphology

from napari_vivim.controller.shortcuts import BY_TITLE, OWN, SHORTCUTS, groups, run, table
from napari_vivim.widgets.edit_toolbar import ShortcutOverlay


def square(session, low: int, high: int, label: int = 1) -> np.ndarray:
    mask = np.zeros(session.shape[1:], np.uint8)
    mask[low:high, low:high] = label
    return mask


def test_a_correction_is_one_step_between_strokes(segment) -> None:
    controller = segment.controller
    session, masks, editing = controller.session, controller.masks, controller.editing
    controller.go_to(3)
    masks.paint((3, 30, 30), 1)
    stroke = np.asarray(session.masks[3]).copy()
    segment.corrections.buttons["Grow"].click()
    grown = np.asarray(session.masks[3]).copy()
    assert np.array_equal(grown, morphology.grow(stroke)) and session.status(3) == "corrected"
    masks.paint((3, 50, 50), 1)
    editing.undo()
    assert np.array_equal(session.masks[3], grown)
    editing.undo()
    assert np.array_equal(session.masks[3], stroke)
    editing.undo()
    assert not session.masks[3].any() and session.status(3) == "empty"
    editing.redo()
    assert np.array_equal(session.masks[3], stroke)


def test_undo_goes_to_where_it_was_done(segment) -> None:
    controller = segment.controller
    for frame in (3, 7):
        controller.go_to(frame)
        controller.masks.paint((frame, 30, 30), 1)
        controller.masks.paint((frame, 50, 50), 1)
    controller.go_to(0)
    for frame, left in ((7, True), (7, False), (3, True), (3, False)):
        run(BY_TITLE["Undo"], controller)
        assert controller.current_frame == frame and controller.session.masks[frame].any() == left
        assert np.array_equal(controller.masks._slice.image.raw, controller.session.masks[frame])


def test_one_stroke_of_many_dabs_is_one_step(segment) -> None:
    controller = segment.controller
    masks, session = controller.masks, controller.session
    controller.go_to(2)
    with masks.block_history():
        for column in range(10, 50, 5):
            masks.paint((2, 20, column), 1)
    with masks.block_history():
        masks.paint((2, 50, 50), 1)
    controller.editing.undo()
    assert session.masks[2][20, 45] and not session.masks[2][50, 50]
    controller.editing.undo()
    assert not session.masks[2].any()


def test_neighbours_are_copied_and_mixed(segment, qtbot) -> None:
    controller = segment.controller
    session, editing = controller.session, controller.editing
    for frame, half in ((2, 5), (6, 11)):
        session.correct(frame, square(session, 32 - half, 32 + half))
    controller.go_to(3)
    run(BY_TITLE["Copy previous"], controller)
    assert np.array_equal(session.masks[3], session.masks[2]) and session.status(3) == "corrected"
    controller.go_to(4)
    run(BY_TITLE["In between"], controller)
    qtbot.waitUntil(lambda: not editing.busy, timeout=20000)
    area = [int(session.masks[t].sum()) for t in (3, 4, 6)]
    assert area[0] < area[1] < area[2] and session.status(4) == "corrected"
    editing.undo()
    assert not session.masks[4].any()


def test_a_mixed_mask_does_not_cover_what_was_drawn_meanwhile(segment, qtbot) -> None:
    controller = segment.controller
    session, editing = controller.session, controller.editing
    for frame in (2, 6):
        session.correct(frame, square(session, 20, 40))
    controller.go_to(4)
    run(BY_TITLE["In between"], controller)
    controller.masks.paint((4, 10, 10), 1)
    drawn = np.asarray(session.masks[4]).copy()
    qtbot.waitUntil(lambda: not editing.busy, timeout=20000)
    assert np.array_equal(session.masks[4], drawn)


def test_a_stretch_is_accepted_and_given_back(segment, qtbot) -> None:
    controller = segment.controller
    session, editing = controller.session, controller.editing
    for t in range(12):
        session.propose(t, square(session, 20, 30), "v1")
    session.accept(1)
    controller.go_to(10)
    segment.accept_range.click()
    qtbot.waitUntil(lambda: not editing.busy)
    assert session.frames_with("accepted") == list(range(1, 11))
    segment.accept_range.click()
    assert session.frames_with("accepted") == list(range(1, 11))
    editing.undo()
    qtbot.waitUntil(lambda: not editing.busy)
    assert session.frames_with("accepted") == [1] and session.frames_with("proposed")[:2] == [0, 2]


def test_the_proposal_comes_back(segment) -> None:
    controller, session = segment.controller, segment.controller.session
    session.propose(5, square(session, 20, 30), "v1")
    controller.go_to(5)
    controller.masks.paint((5, 50, 50), 1)
    controller.masks.paint((5, 10, 10), 1)
    segment.corrections.buttons["Restore the model's proposal"].click()
    assert np.array_equal(session.masks[5], square(session, 20, 30)) and session.status(5) == "proposed"
    assert np.array_equal(controller.masks._slice.image.raw, session.masks[5])


def test_the_piece_under_the_pointer_takes_the_brush_s_class(segment) -> None:
    controller, session = segment.controller, segment.controller.session
    session.correct(2, square(session, 5, 15) + square(session, 30, 40))
    controller.go_to(2)
    controller.masks.selected_label = 2
    segment.viewer.cursor.position = controller.masks.data_to_world((2, 35, 35))
    run(BY_TITLE["Relabel"], controller)
    assert np.array_equal(session.masks[2], square(session, 5, 15) + square(session, 30, 40, 2))
    segment.viewer.cursor.position = controller.masks.data_to_world((2, 50, 50))
    run(BY_TITLE["Relabel"], controller)
    assert controller.session.masks[2].max() == 2


def test_next_goes_on_and_back_returns(segment) -> None:
    controller = segment.controller
    shown = []
    for _ in range(4):
        segment.next.click()
        shown.append(controller.current_frame)
    assert len(set(shown)) == 4 and f"Frame {shown[-1]}: " in segment.reason.text()
    segment.back.click()
    assert controller.current_frame == shown[2]
    controller.session.correct(shown[3], square(controller.session, 5, 9))
    segment.next.click()
    assert controller.current_frame not in shown
    for frame in range(12):
        controller.session.correct(frame, square(controller.session, 5, 9))
    here = controller.current_frame
    segment.next.click()
    assert controller.current_frame == here


def test_keys_act_on_the_video_whatever_layer_is_selected(segment) -> None:
    viewer, controller = segment.viewer, segment.controller
    controller.go_to(1)
    controller.masks.paint((1, 20, 20), 1)
    size = int(controller.editing.mask(1).sum())
    for layer in (controller.layer, controller.masks):
        viewer.layers.selection.active = layer
        viewer.keymap[KeyBinding.from_str("G")](viewer)
    assert int(controller.editing.mask(1).sum()) > size
    controller.session.propose(2, np.ones((64, 64), np.uint8), "v1")
    controller.go_to(2)
    viewer.keymap[KeyBinding.from_str("Q")](viewer)
    assert controller.session.status(2) == "accepted"
    controller.masks.keymap[KeyBinding.from_str("Ctrl-Z")](controller.masks)
    assert controller.session.status(2) == "proposed"


def test_nothing_here_is_a_person_s_word_that_undo_takes_back(segment) -> None:
    controller, session = segment.controller, segment.controller.session
    session.propose(5, square(session, 20, 30), "v1")
    controller.go_to(5)
    segment.nothing.click()
    assert session.status(5) == "corrected" and not session.masks[5].any()
    assert not controller.masks._slice.image.raw.any()
    assert not session.propose(5, square(session, 20, 30), "v2")
    controller.undo()
    assert session.status(5) == "proposed" and session.masks[5].any()


def test_nothing_up_to_here_is_one_step_over_a_range(segment, qtbot) -> None:
    controller, session = segment.controller, segment.controller.session
    session.correct(1, square(session, 20, 30))
    for t in (3, 10):
        session.propose(t, square(session, 20, 30), "v1")
    controller.go_to(10)
    run(BY_TITLE["Nothing up to here"], controller)
    qtbot.waitUntil(lambda: not controller.editing.busy)
    assert session.frames_with("corrected") == list(range(1, 11))
    assert session.masks[1].any() and not any(session.masks[t].any() for t in range(2, 11))
    controller.undo()
    qtbot.waitUntil(lambda: not controller.editing.busy)
    assert session.frames_with("corrected") == [1] and session.frames_with("proposed") == [3, 10]


def test_keys_go_far_and_to_what_is_done(segment) -> None:
    controller, session = segment.controller, segment.controller.session
    for t in (2, 7):
        session.correct(t, square(session, 5, 9))

    def goes(title: str) -> int:
        run(BY_TITLE[title], controller)
        return controller.current_frame

    controller.go_to(0)
    titles = ("10 on", "10 on", "10 back", "Last frame", "Previous corrected", "Previous corrected")
    assert [goes(title) for title in titles] == [10, 11, 1, 11, 7, 2]
    assert goes("Previous corrected") == 2 and goes("Next corrected") == 7 and goes("First frame") == 0


def test_a_loop_plays_between_two_frames_until_it_is_ended(segment, qtbot) -> None:
    controller, seen = segment.controller, set()
    segment.viewer.dims.events.point.connect(lambda event: seen.add(controller.current_frame))
    for frame in (8, 5):
        controller.go_to(frame)
        run(BY_TITLE["Loop"], controller)
    seen.clear()
    qtbot.waitUntil(lambda: seen == {5, 6, 7, 8})
    run(BY_TITLE["Loop"], controller)
    assert not controller.loop.playing
    run(BY_TITLE["Loop"], controller)  # the same frame twice is no loop
    run(BY_TITLE["Loop"], controller)
    assert not controller.loop.playing
    for frame in (8, 5):
        controller.go_to(frame)
        run(BY_TITLE["Loop"], controller)
    assert controller.loop.playing
    segment.viewer.layers.remove(controller.layer)
    assert not controller.loop.playing


def test_masks_are_outlined_filled_and_hidden_in_turn(segment) -> None:
    masks = segment.controller.masks
    looks = []
    for _ in range(4):
        looks.append("hidden" if not masks.visible else "outlined" if masks.contour else "filled")
        run(BY_TITLE["Outline, fill, hide"], segment.controller)
    assert looks == ["outlined", "filled", "hidden", "outlined"]


def test_the_picture_is_changed_while_the_masks_layer_stays_selected(segment) -> None:
    controller, layer = segment.controller, segment.controller.layer
    before = np.asarray(layer._slice.image.view).astype(float)

    def shown(title: str) -> np.ndarray:
        run(BY_TITLE[title], controller)
        if not layer.rgb:
            low, high = layer.contrast_limits
            return np.clip((before - low) / (high - low), 0, 1) ** layer.gamma * 255
        return np.asarray(layer._slice.image.view).astype(float)

    assert shown("Brighter").mean() > before.mean() and shown("As it was").mean() == pytest.approx(
        before.mean()
    )
    assert shown("Darker").mean() < before.mean()
    run(BY_TITLE["As it was"], controller)
    assert shown("More contrast").std() > before.std()
    assert shown("Less contrast").std() == pytest.approx(before.std())
    assert segment.viewer.layers.selection.active == controller.masks
    run(BY_TITLE["More contrast"], controller)
    assert np.array_equal(
        controller.session.video.frame(0), layer.data.video.frame(0)
    )  # the video stays as it is


def test_the_table_holds_napari_s_own_keys_too(segment) -> None:
    keys = groups()
    assert ("[", "Smaller brush", "") in keys["napari"] and len(keys["napari"]) == len(OWN)
    assert sum(map(len, keys.values())) == len(SHORTCUTS) + len(OWN) + 1


def test_what_cannot_be_accepted_is_told(segment) -> None:
    from napari.utils.notifications import notification_manager

    assert not segment.accept.isEnabled() and not segment.accept_range.isEnabled()  # none of any frame
    segment.controller.session.propose(3, np.ones((64, 64), np.uint8), "v1")
    assert segment.accept.isEnabled() and segment.accept_range.isEnabled()
    segment.accept.click()
    assert "no mask to accept yet" in notification_manager.records[-1].message


def test_a_question_mark_shows_all_keys_over_the_picture(segment, qtbot) -> None:
    window = segment.window()
    window.show()
    with qtbot.waitActive(window):
        window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_Question)  # the very first time
    qtbot.waitUntil(lambda: len(window.findChildren(ShortcutOverlay)) == 1)
    (overlay,) = window.findChildren(ShortcutOverlay)
    assert not overlay.isHidden()
    qtbot.keyClick(window, Qt.Key.Key_Question)
    qtbot.waitUntil(overlay.isHidden)
    segment.keys.click()
    assert not overlay.isHidden()
    qtbot.mouseClick(overlay, Qt.MouseButton.LeftButton)
    assert overlay.isHidden()


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.title)
def test_no_key_is_one_of_naparis_own(shortcut) -> None:
    """Neither of the viewer nor of the layers that a video has; keys of points and shapes work on those alone."""
    actions = action_manager._actions
    others = {name for name, action in actions.items() if action.keymapprovider in (Points, Shapes)}
    taken = {
        str(KeyBinding.from_str(str(key)))
        for name, keys in default_shortcuts.items()
        if name not in others
        for key in keys
    }
    assert str(KeyBinding.from_str(shortcut.key)) not in taken


def test_the_documentation_holds_the_same_keys() -> None:
    page = Path(__file__).parents[3] / "docs" / "keys.md"
    assert table() in page.read_text()
