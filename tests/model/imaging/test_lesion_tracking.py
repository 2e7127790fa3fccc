"""Lesions keep their numbers over time, and cleaning does what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from vivim.imaging.components import Cleaning
from vivim.imaging.lesion_tracking import OUT_OF_SIGHT, Lesions


def frame(*boxes: tuple[int, int, int, int], category: int = 1) -> np.ndarray:
    """A 20 x 40 mask with rectangles (top, left, bottom, right)."""
    mask = np.zeros((20, 40), np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = category
    return mask


def ids(*frames: np.ndarray) -> list[list[int]]:
    lesions = Lesions(np.stack(frames))
    return [[found.id for found in lesions.of(t)] for t in range(len(frames))]


LEFT, RIGHT, BOTH = (5, 2, 15, 12), (5, 20, 15, 26), (5, 2, 15, 26)


def test_two_lesions_that_move_keep_their_numbers() -> None:
    frames = [frame((2 + t, 2, 10 + t, 10), (2, 20 + t, 10, 30 + t)) for t in range(6)]
    lesions = Lesions(np.stack(frames))
    for t in range(6):
        first, second = lesions.of(t)
        assert (first.id, first.left) == (1, 2)
        assert (second.id, second.left) == (2, 20 + t)
        np.testing.assert_array_equal(first.mask((20, 40)) | second.mask((20, 40)), frames[t] > 0)
        np.testing.assert_array_equal(lesions.picture(t) == 2, second.mask((20, 40)))


def test_of_a_split_the_larger_overlap_keeps_the_number() -> None:
    lesions = Lesions(np.stack([frame(BOTH), frame(LEFT, RIGHT)]))
    assert [(found.id, found.left) for found in lesions.of(1)] == [(1, 2), (2, 20)]


def test_a_merge_keeps_the_larger_ones_number_and_a_split_after_it_gives_both_back() -> None:
    assert ids(frame(RIGHT, LEFT), frame(BOTH), frame(LEFT, RIGHT)) == [[1, 2], [1], [1, 2]]


def test_a_lesion_out_of_sight_for_a_while_is_the_same_and_later_another() -> None:
    nothing = frame()
    assert ids(frame(LEFT), *[nothing] * OUT_OF_SIGHT, frame(LEFT))[-1] == [1]
    assert ids(frame(LEFT), *[nothing] * (OUT_OF_SIGHT + 1), frame(LEFT))[-1] == [2]
    assert ids(frame(LEFT), nothing, frame(RIGHT))[-1] == [2]


def test_another_class_is_another_lesion() -> None:
    touching = frame(LEFT)
    touching[5:15, 12:15] = 2
    found = Lesions(touching[None]).of(0)
    assert [(lesion.id, lesion.category) for lesion in found] == [(1, 1), (2, 2)]
    assert ids(frame(LEFT), frame(LEFT, category=2)) == [[1], [2]]


def test_numbers_do_not_depend_on_the_order_of_asking() -> None:
    rng = np.random.default_rng(1)
    masks = (ndimage.gaussian_filter(rng.normal(size=(12, 40, 40)), (1, 3, 3)) > 0.06).astype(np.uint8)
    forward, backward = Lesions(masks), Lesions(masks)
    expected = [forward.picture(t) for t in range(12)]
    for t in reversed(range(12)):
        np.testing.assert_array_equal(backward.picture(t), expected[t])
        assert backward.ids(t) == sorted(set(np.unique(expected[t])) - {0})


def test_cleaning_does_nothing_unless_asked() -> None:
    mask = frame(LEFT, (0, 0, 1, 1))
    mask[8, 8] = 0
    np.testing.assert_array_equal(Cleaning()(mask), mask)


def test_specks_go_and_holes_are_filled() -> None:
    mask = frame(LEFT, (0, 0, 2, 2), (0, 38, 3, 40))
    mask[8:10, 6:9] = 0
    mask[5, 3] = 0  # a notch in the outline is no hole
    cleaned = Cleaning(min_area_px=5, fill_holes=True)(mask)
    expected = frame(LEFT, (0, 38, 3, 40))
    expected[5, 3] = 0
    np.testing.assert_array_equal(cleaned, expected)


@pytest.mark.parametrize("area", [0, 1, 4, 9])
@settings(max_examples=60, deadline=None)
@given(mask=arrays(np.uint8, (12, 14), elements=st.integers(0, 2)))
def test_cleaning_of_any_mask_agrees_with_scipy(mask: np.ndarray, area: int) -> None:
    filled = Cleaning(fill_holes=True)(mask)
    np.testing.assert_array_equal(filled > 0, ndimage.binary_fill_holes(mask > 0))
    np.testing.assert_array_equal(filled[mask > 0], mask[mask > 0])
    kept = Cleaning(min_area_px=area)(mask)
    expected = np.zeros_like(mask)
    for category in (1, 2):
        parts, count = ndimage.label(mask == category, np.ones((3, 3)))
        for part in range(1, count + 1):
            if (parts == part).sum() >= area:
                expected[parts == part] = category
    np.testing.assert_array_equal(kept, expected)
