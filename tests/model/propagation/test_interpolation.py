"""Masks mixed along the motion of the picture, on a phantom whose motion is known."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from scipy import ndimage
from vivim.imaging.signed_distance import between
from vivim.propagation.interpolation import REACH, along_motion

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def moving() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A textured scene that shifts by (2, 5) pixels a frame, and masks of two classes that go with it."""
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.normal(size=(200, 300)), 3)
    scene = (127 + 100 * scene / np.abs(scene).max()).astype(np.uint8)
    classes = np.zeros(scene.shape, np.uint8)
    classes[70:95, 100:130] = 1
    classes[50:60, 95:110] = 2
    places = [(40 + 2 * t, 80 - 5 * t) for t in range(9)]
    frames = [np.repeat(scene[y : y + 96, x : x + 128, None], 3, axis=2) for y, x in places]
    return frames, [classes[y : y + 96, x : x + 128] for y, x in places]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_it_follows_where_mixing_alone_does_not(moving) -> None:
    frames, masks = moving
    found = along_motion(lambda t: frames[t], (0, masks[0]), (8, masks[8]), 4)
    still = between(masks[0], masks[8], 0.5)
    for number in (1, 2):
        assert (
            dice(found == number, masks[4] == number) > 0.8 > dice(still == number, masks[4] == number) + 0.2
        )


def test_a_lesion_on_one_side_only_fades_within_half_the_way(moving) -> None:
    frames, masks = moving
    nothing = np.zeros(SHAPE, np.uint8)
    near = along_motion(lambda t: frames[0], (0, masks[0]), (10, nothing), 1)
    far = along_motion(lambda t: frames[0], (0, masks[0]), (10, nothing), 9)
    assert near is not None and far is not None and not far.any()


def test_it_gives_up_where_motion_cannot_be_followed_or_when_told(moving) -> None:
    frames, masks = moving
    assert along_motion(lambda t: frames[0], (0, masks[0]), (REACH + 2, masks[0]), 1) is None
    stop = threading.Event()
    stop.set()
    assert along_motion(lambda t: frames[t], (0, masks[0]), (8, masks[8]), 4, stop) is None
