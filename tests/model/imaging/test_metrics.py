"""Scores against SciPy, set arithmetic, and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import dice as scipy_dice
from scipy.spatial.distance import jaccard as scipy_jaccard
from vivim.imaging.metrics import dice, hausdorff95, jaccard, precision, recall, specificity

SHAPE = (6, 5)
MASKS = arrays(np.uint8, SHAPE, elements=st.integers(0, 1))


def pixels(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


@given(MASKS, MASKS)
def test_scores_are_what_sets_say(predicted: np.ndarray, true: np.ndarray) -> None:
    p, t = pixels(predicted), pixels(true)
    outside = {(y, x) for y in range(SHAPE[0]) for x in range(SHAPE[1])} - t
    both = len(p & t)
    assert dice(predicted, true) == pytest.approx(2 * both / (len(p) + len(t)) if p or t else 1)
    assert jaccard(predicted, true) == pytest.approx(both / len(p | t) if p or t else 1)
    assert precision(predicted, true) == pytest.approx(both / len(p) if p else float(not t))
    assert recall(predicted, true) == pytest.approx(both / len(t) if t else float(not p))
    assert specificity(predicted, true) == pytest.approx(len(outside - p) / len(outside) if outside else 1)


@given(MASKS, MASKS)
def test_scores_hang_together(predicted: np.ndarray, true: np.ndarray) -> None:
    d, j = dice(predicted, true), jaccard(predicted, true)
    assert d == pytest.approx(2 * j / (1 + j))
    assert d == dice(true, predicted)
    assert precision(predicted, true) == recall(true, predicted)
    for score in (d, j, precision(predicted, true), recall(predicted, true), specificity(predicted, true)):
        assert 0 <= score <= 1


@given(MASKS, MASKS)
def test_overlap_agrees_with_scipy(predicted: np.ndarray, true: np.ndarray) -> None:
    p, t = predicted.ravel() > 0, true.ravel() > 0
    if p.any() or t.any():
        assert dice(predicted, true) == pytest.approx(1 - scipy_dice(p, t))
        assert jaccard(predicted, true) == pytest.approx(1 - scipy_jaccard(p, t))


def test_any_label_counts_and_any_shape_goes() -> None:
    assert dice(np.array([0, 2, 255]), np.array([False, True, True])) == 1
    assert dice(np.zeros((3, 4, 5)), np.zeros((3, 4, 5))) == 1
    assert dice(np.ones(3), np.zeros(3)) == 0


def test_empty_masks() -> None:
    nothing, something = np.zeros(4), np.ones(4)
    assert (precision(nothing, nothing), recall(nothing, nothing)) == (1, 1)
    assert (precision(nothing, something), recall(nothing, something)) == (0, 0)
    assert (precision(something, nothing), recall(something, nothing)) == (0, 0)
    assert specificity(something, something) == 1


def test_masks_of_different_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"different shapes.*\(3,\) and \(4,\)"):
        dice(np.zeros(3), np.zeros(4))


def test_distances_are_in_the_unit_of_the_spacing() -> None:
    one, other = np.zeros((2, 30, 40), bool)
    one[10:20, 10:20] = other[13:23, 10:20] = True
    assert hausdorff95(one, other) == pytest.approx(3.0), "moved by three rows"
    assert hausdorff95(one, other, (0.5, 0.5)) == pytest.approx(1.5)
    assert hausdorff95(one, other, (0.5, 2.0)) == pytest.approx(1.5)
    assert hausdorff95(one, np.zeros_like(one), (0.1, 0.2)) == pytest.approx(np.hypot(3.0, 8.0))
