"""Colours that stand out on ultrasound and mucosa, for every eye, and drawings for every key that has a button."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab
from vivim.settings import PALETTES

from napari_vivim.controller.shortcuts import SHORTCUTS
from napari_vivim.qt.style import (
    ACTION,
    ACTION_HOVER,
    DRAWINGS,
    FOCUS,
    ON_ACTION,
    STATUS_COLORS,
    IconButton,
)

GROUNDS = "#000000", "#3a3a3a", "#6e6e6e", "#a8a8a8", "#b5655a", "#d98a7c", "#8a3f3a"
"""Grey values of ultrasound, and pinks of mucosa."""
EYES = {
    "usual": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
"""What linear colours become for an eye: Machado, Oliveira and Fernandes (2009), full severity."""


def linear(color: str) -> NDArray:
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def apart(one: str, other: str, eye: NDArray) -> float:
    """How far two colours are apart for an eye: CIEDE2000, of which 2.3 are just seen."""
    seen = [np.clip(eye @ linear(color), 0, 1) for color in (one, other)]
    srgb = [np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055) for c in seen]
    return float(deltaE_ciede2000(*map(rgb2lab, srgb)))


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(color) @ (0.2126, 0.7152, 0.0722)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eye", EYES)
def test_masks_stand_out_on_every_ground(eye: str) -> None:
    for color, ground in itertools.product(PALETTES["vivid"], GROUNDS):
        assert apart(color, ground, EYES[eye]) > 10, (color, ground)


@pytest.mark.parametrize("eye", EYES)
def test_the_first_classes_are_told_apart(eye: str) -> None:
    for one, other in itertools.combinations(PALETTES["vivid"][:3], 2):
        assert apart(one, other, EYES[eye]) > 10, (one, other)


def test_masks_have_no_colour_that_stands_for_a_status() -> None:
    for color, status in itertools.product(PALETTES["vivid"], STATUS_COLORS.values()):
        assert apart(color, status, EYES["usual"]) > 15, (color, status)


def test_what_is_read_has_contrast() -> None:
    assert min(contrast(ON_ACTION, ACTION), contrast(ON_ACTION, ACTION_HOVER)) > 4.5
    assert all(contrast(FOCUS, ground) > 3 for ground in ("#262930", "#efebe9"))


def test_every_button_with_a_key_has_a_drawing(qtbot) -> None:
    assert {one.icon for one in SHORTCUTS if one.icon} == set(DRAWINGS)
    made = IconButton("undo", "Undo", "Undo  (Ctrl-Z)", "Ctrl-Z")
    qtbot.addWidget(made)
    made.setStyleSheet("color: #ff0000")
    made.show()
    pixels = made.icon().pixmap(32, 32).toImage()
    drawn = [pixels.pixelColor(x, y) for x in range(pixels.width()) for y in range(pixels.height())]
    assert any(color.alpha() > 200 and color.red() > 200 > color.green() for color in drawn)
