"""Corrections of a whole mask in the window: through the gate, undone in their turn, by keys that clash with none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.utils.key_bindings import KeyBinding
from napari.utils.shortcuts import default_shortcuts
from vivim import correcting

from napari_vivim.corrections import SHORTCUTS, run, table

KEYS = {shortcut.title: shortcut for shortcut in SHORTCUTS}


def test_a_correction_is_one_step_between_strokes(segment) -> None:
    controller = segment.controller
    session, masks = controller.session, controller.masks
    controller.go_to(3)
    masks.paint((3, 30, 30), 1)
    stroke = np.asarray(session.masks[3]).copy()
    segment.corrections.buttons["Grow"].click()
    grown = np.asarray(session.masks[3]).copy()
    assert np.array_equal(grown, correcting.grow(stroke)) and session.status(3) == "corrected"
    masks.paint((3, 50, 50), 1)
    assert controller.undo() and np.array_equal(session.masks[3], grown)
    assert controller.undo() and np.array_equal(session.masks[3], stroke)
    assert controller.undo() and not session.masks[3].any()
    assert session.status(3) == "empty"


def test_neighbours_are_copied_and_mixed(segment) -> None:
    controller = segment.controller
    session = controller.session
    for frame, half in ((2, 5), (6, 11)):
        mask = np.zeros(session.shape[1:], np.uint8)
        mask[32 - half : 32 + half, 32 - half : 32 + half] = 1
        session.correct(frame, mask)
    controller.go_to(3)
    run(KEYS["Copy previous"], controller)
    assert np.array_equal(session.masks[3], session.masks[2]) and session.status(3) == "corrected"
    controller.go_to(4)
    run(KEYS["In between"], controller)
    assert np.array_equal(session.masks[4], correcting.between(session.masks[3], session.masks[6], 1 / 3))


def test_keys_act_on_the_video_whatever_layer_is_selected(segment) -> None:
    viewer, controller = segment.viewer, segment.controller
    controller.go_to(1)
    controller.masks.paint((1, 20, 20), 1)
    size = int(controller.mask(1).sum())
    for layer in (controller.layer, controller.masks):
        viewer.layers.selection.active = layer
        viewer.keymap[KeyBinding.from_str("G")](viewer)
    assert int(controller.mask(1).sum()) > size
    viewer.keymap[KeyBinding.from_str("Q")](viewer)
    assert controller.session.status(1) == "accepted"


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.title)
def test_no_key_is_one_of_naparis_own(shortcut) -> None:
    taken = {str(KeyBinding.from_str(str(key))) for keys in default_shortcuts.values() for key in keys}
    assert str(KeyBinding.from_str(shortcut.key)) not in taken


def test_the_documentation_holds_the_same_keys() -> None:
    page = Path(__file__).parents[2] / "docs" / "correction-loop.md"
    assert table() in page.read_text()
