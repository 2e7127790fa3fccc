"""Clicks, boxes and strokes on the picture: what they show, when they become a correction, and what follows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vivim import Vivim, VivimConfig
from vivim.inference.proposals import ProposeEvent

from napari_vivim.controller.mask_editing import frames_around
from napari_vivim.controller.prompt_tool import PromptTool


@pytest.fixture
def prompted(segment: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dock with the tool on, and a small model with random weights that takes prompts."""
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64), prompts=True)).eval()
    model.name = "tiny"
    monkeypatch.setattr("vivim.registry.registry.load_model", lambda name: model)
    monkeypatch.setattr("vivim.registry.registry.model_path", lambda name: Path(__file__))
    segment.prompts.follow.click()
    segment.controller.go_to(0)
    tool(segment).start()
    yield segment
    tool(segment).stop()


def tool(segment: Any) -> PromptTool:
    found = segment.controller.prompting
    assert found is not None
    return found


def settled(segment: Any, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not tool(segment)._jobs)


def gesture(
    segment: Any, *places: tuple[float, float], button: int = 1, modifiers: tuple[str, ...] = ()
) -> None:
    """Press at the first place, move along the others, release."""
    masks, frame = segment.controller.masks, segment.controller.current_frame

    def event(kind: str, place: tuple[float, float]) -> SimpleNamespace:
        world = masks.data_to_world((frame, *place))
        return SimpleNamespace(
            type=kind, button=button, modifiers=modifiers, position=world, camera_zoom=4.0, handled=False
        )

    now = event("mouse_press", places[0])
    steps = tool(segment)._on_mouse(segment.viewer, now)
    next(steps)
    for place in places[1:]:
        vars(now).update(vars(event("mouse_move", place)))
        next(steps)
    now.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(steps)


def test_clicks_show_an_outline_and_change_nothing_until_enter(prompted: Any, qtbot: Any) -> None:
    session = prompted.session
    gesture(prompted, (30, 30))
    gesture(prompted, (5, 5), button=2)
    settled(prompted, qtbot)
    found = tool(prompted).prompted
    assert found is not None and found.prompts.point_labels == (1, 0)
    assert found.mask[30, 30] and not found.mask[5, 5]
    assert session.status(0) == "empty"
    tool(prompted).take()
    settled(prompted, qtbot)
    assert session.status(0) == "corrected"
    assert np.array_equal(session.masks[0] == 1, found.mask)
    assert tool(prompted).prompted is None and tool(prompted).active


def test_a_drag_is_a_box_and_a_drag_with_shift_a_stroke(prompted: Any, qtbot: Any) -> None:
    gesture(prompted, (10, 12), (30, 50), (40, 44))
    settled(prompted, qtbot)
    found = tool(prompted).prompted
    assert found is not None and np.allclose(found.prompts.box, (10, 12, 40, 44))
    gesture(prompted, (20, 20), (20, 30), (26, 30), modifiers=("Shift",))
    gesture(prompted, (50, 5), (50, 20), modifiers=("Shift", "Alt"))
    settled(prompted, qtbot)
    scribble = tool(prompted).prompted.prompts.scribble
    assert scribble[20, 25] == 1 and scribble[50, 10] == -1
    assert tool(prompted).prompted.mask[20, 25] and not tool(prompted).prompted.mask[50, 10]


def test_a_press_that_hardly_moves_is_a_click_and_one_beside_the_picture_nothing(
    prompted: Any, qtbot: Any
) -> None:
    gesture(prompted, (30, 30), (30.3, 30.4))
    settled(prompted, qtbot)
    assert len(tool(prompted).prompted.prompts.points) == 1
    outside = SimpleNamespace(
        type="mouse_press", button=1, modifiers=(), camera_zoom=1.0, handled=False,
        position=prompted.controller.masks.data_to_world((0, -5, 10)),
    )  # fmt: skip
    assert list(tool(prompted)._on_mouse(prompted.viewer, outside)) == [] and not outside.handled


def test_the_mark_can_be_turned_around_for_a_finger(prompted: Any, qtbot: Any) -> None:
    prompted.prompts.other.click()
    gesture(prompted, (30, 30))
    gesture(prompted, (40, 40), modifiers=("Alt",))
    settled(prompted, qtbot)
    assert tool(prompted).prompted.prompts.point_labels == (0, 1)


def test_undo_takes_prompts_back_before_strokes(prompted: Any, qtbot: Any) -> None:
    prompted.controller.editing.replace(np.ones((64, 64), np.uint8))
    gesture(prompted, (30, 30))
    gesture(prompted, (5, 5), button=2)
    prompted.controller.undo()
    settled(prompted, qtbot)
    assert tool(prompted).prompted.prompts.point_labels == (1,)
    prompted.controller.undo()
    settled(prompted, qtbot)
    assert tool(prompted).prompted is None and prompted.session.masks[0].all()
    prompted.controller.undo()
    assert not prompted.session.masks[0].any()


def test_backspace_deletes_the_last_click_and_escape_all(prompted: Any, qtbot: Any) -> None:
    gesture(prompted, (30, 30))
    gesture(prompted, (40, 40))
    tool(prompted).delete_last()
    settled(prompted, qtbot)
    assert tool(prompted).prompted.prompts.points == ((30.0, 30.0),)
    tool(prompted).drop()
    settled(prompted, qtbot)
    assert tool(prompted).prompted is None and prompted.session.status(0) == "empty"
    gesture(prompted, (20, 20))
    settled(prompted, qtbot)
    assert len(tool(prompted).prompted.prompts.points) == 1


@pytest.mark.parametrize("how", ["next frame", "tool off", "brush", "session closed"])
def test_what_is_prompted_is_taken_on_the_way_elsewhere(prompted: Any, qtbot: Any, how: str) -> None:
    session = prompted.session
    gesture(prompted, (30, 30))
    settled(prompted, qtbot)
    mask = tool(prompted).prompted.mask
    if how == "next frame":
        prompted.controller.go_to(1)
    elif how == "tool off":
        tool(prompted).toggle()
    elif how == "brush":
        prompted.controller.masks.mode = "paint"
        assert not tool(prompted).active
    else:
        prompted.controller._close_session()
        prompted.controller.open_session()
        qtbot.waitUntil(lambda: prompted.session is not None and prompted.session is not session)
        session = prompted.session
    settled(prompted, qtbot)
    assert session.status(0) == "corrected" and np.array_equal(session.masks[0] == 1, mask)
    assert session.status(1) == "empty"


def test_a_prompt_belongs_to_the_class_of_the_brush_and_wins_over_others(prompted: Any, qtbot: Any) -> None:
    prompted.controller.editing.replace(np.full((64, 64), 2, np.uint8))
    gesture(prompted, (30, 30))
    settled(prompted, qtbot)
    mask = tool(prompted).prompted.mask
    tool(prompted).take()
    settled(prompted, qtbot)
    assert np.array_equal(prompted.session.masks[0], np.where(mask, 1, 2))


def test_a_prompt_that_confirms_the_proposal_makes_it_a_persons(prompted: Any, qtbot: Any) -> None:
    session = prompted.session
    gesture(prompted, (30, 30))
    settled(prompted, qtbot)
    session.propose(0, tool(prompted).prompted.mask.astype(np.uint8), "model")
    tool(prompted).take()
    settled(prompted, qtbot)
    assert session.status(0) == "corrected"
    assert not session.propose(0, np.zeros((64, 64), np.uint8), "model")
    session.undo()
    assert session.status(0) == "proposed"


def test_a_copy_of_an_equal_mask_makes_it_a_persons(segment: Any, qtbot: Any) -> None:
    session, editing = segment.session, segment.controller.editing
    mask = np.zeros((64, 64), np.uint8)
    mask[10:20, 10:20] = 1
    for t in (0, 1):
        session.propose(t, mask, "model")
    segment.controller.go_to(1)
    editing.change(lambda mask: mask.copy())
    assert session.status(1) == "proposed", "a change that changes nothing says nothing"
    editing.copy_from(-1)
    assert session.status(1) == "corrected"


def test_a_model_without_prompts_says_so_and_the_tool_ends(
    prompted: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Exception] = []
    monkeypatch.setattr("napari_vivim.controller.prompt_tool.show_problem", told.append)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64)))
    monkeypatch.setattr("vivim.registry.registry.load_model", lambda name: model)
    monkeypatch.setattr("vivim.registry.registry.model_path", lambda name: Path(name))
    tool(prompted).model = "other"
    gesture(prompted, (30, 30))
    qtbot.waitUntil(lambda: not tool(prompted).active)
    assert "not trained for clicks" in str(told[0])
    assert prompted.session.status(0) == "empty"


def test_the_neighbours_follow_up_to_the_next_corrected_frame(
    prompted: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int], int]] = []

    def propose(session: Any, model: Any, *, frames: Any, start: int, **_: Any) -> Any:
        asked.append((list(frames), start))
        yield ProposeEvent(start, False, 1, 1, 0.0)

    monkeypatch.setattr("vivim.api.propose", propose)
    prompted.session.correct(9, np.ones((64, 64), np.uint8))
    prompted.controller.go_to(4)
    prompted.prompts.follow.click()
    prompted.prompts.reach.setCurrentText("8 frames")
    gesture(prompted, (30, 30))
    tool(prompted).take()
    settled(prompted, qtbot)
    qtbot.waitUntil(lambda: bool(asked))
    assert asked == [([0, 1, 2, 3, 5, 6, 7, 8], 4)]


@pytest.mark.parametrize(
    ("before", "after", "right"), [(2, 0, [3, 4]), (0, 9, [6, 7]), (9, 9, [2, 3, 4, 6, 7]), (0, 0, [])]
)
def test_corrected_frames_are_barriers(before: int, after: int, right: list[int]) -> None:
    assert frames_around(5, 12, [1, 5, 8], before, after) == right


def test_keys_are_given_back(segment: Any, qtbot: Any) -> None:
    masks = segment.controller.masks
    before, zoom = dict(masks.keymap), list(segment.viewer.mouse_double_click_callbacks)
    tool(segment).toggle()
    assert not masks.mouse_pan and len(segment.viewer.layers) == 4
    tool(segment).toggle()
    assert dict(masks.keymap) == before and masks.mouse_pan
    qtbot.waitUntil(lambda: len(segment.viewer.layers) == 2)
    assert list(segment.viewer.mouse_double_click_callbacks) == zoom
