"""Whole-mask corrections, on shapes whose outcome is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from vivim.imaging import morphology
from vivim.imaging.signed_distance import between, signed_distance

EACH = [morphology.smooth, morphology.fill_holes, morphology.keep_largest, morphology.grow, morphology.shrink]


def disc(radius: float, row: float = 32, column: float = 32, number: int = 1) -> np.ndarray:
    rows, columns = np.mgrid[:64, :64]
    return ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.uint8) * np.uint8(number)


def test_holes_are_filled_and_specks_left_out() -> None:
    ring = disc(12) - disc(5)
    speck = disc(2, 5, 5)
    assert np.array_equal(morphology.fill_holes(ring), disc(12))
    assert np.array_equal(morphology.keep_largest(disc(12) + speck), disc(12))


def test_growing_and_shrinking_move_the_outline_by_a_pixel() -> None:
    square = np.zeros((20, 20), np.uint8)
    square[5:15, 5:15] = 2
    assert (morphology.grow(square) == 2).sum() == 100 + 4 * 10
    assert (morphology.shrink(square) == 2).sum() == 64
    assert morphology.shrink(np.full((9, 9), 3, np.uint8)).all()


def test_smoothing_takes_a_spike_and_keeps_the_rest() -> None:
    spiked = disc(14)
    spiked[32, 46:60] = 1
    smoothed = morphology.smooth(spiked)
    assert not smoothed[32, 50:].any()
    assert abs(int(smoothed.sum()) - int(disc(14).sum())) < 0.03 * disc(14).sum()


def test_one_class_never_takes_a_pixel_of_another() -> None:
    two = disc(8, 32, 25) + disc(5, 32, 39, number=2)
    grown = morphology.grow(two)
    assert np.array_equal(grown[two > 0], two[two > 0])


def test_halfway_between_two_discs_lies_the_disc_of_mean_radius() -> None:
    assert np.abs(between(disc(8), disc(16), 0.5).astype(int) - disc(12)).sum() < 20
    assert np.array_equal(between(disc(8), disc(16), 0.0), disc(8))


@pytest.mark.parametrize("change", EACH)
@given(mask=arrays.arrays(np.uint8, (9, 11), elements=st.integers(0, 3)))
def test_any_mask_gives_one_of_its_kind(change, mask: np.ndarray) -> None:
    before = mask.copy()
    out = change(mask)
    assert out.shape == mask.shape and out.dtype == np.uint8
    assert set(np.unique(out)) <= set(np.unique(mask)) | {0}
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_between_mixes_signed_distances_linearly(share: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        first, last = np.zeros((2, 60, 60), np.uint8)
        for mask in (first, last):
            (top, left), (height, width) = rng.integers(0, 40, 2), rng.integers(1, 30, 2)
            part = mask[top : top + height, left : left + width]
            part[:] = rng.random(part.shape) < 0.8
        mixed = (1 - share) * signed_distance(first, 60.0) + share * signed_distance(last, 60.0)
        np.testing.assert_array_equal(between(first, last, share), mixed > 0)


def test_a_component_takes_another_class() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[1:4, 1:4] = mask[6:9, 6:9] = 1
    mask[4, 4] = 2
    out = morphology.relabel(mask, 7, 7, 3)
    assert (out[6:9, 6:9] == 3).all() and np.array_equal(out[:5], mask[:5])
    assert np.array_equal(morphology.relabel(mask, 0, 0, 3), mask)
