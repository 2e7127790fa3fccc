"""Scores of a predicted mask against a true one; all take arrays of any shape that count as true where nonzero.

Where both masks are empty there is nothing to find and nothing was found: overlap scores are 1. Precision is 1
where nothing was predicted and nothing is there, 0 where nothing was predicted and something is; recall likewise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _counts(predicted: NDArray, true: NDArray) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives."""
    p, t = np.asarray(predicted) > 0, np.asarray(true) > 0
    if p.shape != t.shape:
        raise ValueError(f"Masks of different shapes cannot be compared: {p.shape} and {t.shape}.")
    both, in_p, in_t = (int(np.count_nonzero(v)) for v in (p & t, p, t))
    return both, in_p - both, in_t - both, p.size - in_p - in_t + both


def _ratio(part: float, whole: float, empty: float) -> float:
    return part / whole if whole else empty


def dice(predicted: NDArray, true: NDArray) -> float:
    """Dice coefficient, ``2 |P and T| / (|P| + |T|)``, in [0, 1]; 1 where both are empty."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(2 * tp, 2 * tp + fp + fn, 1.0)


def jaccard(predicted: NDArray, true: NDArray) -> float:
    """Jaccard index (IoU), ``|P and T| / |P or T|``, in [0, 1]; 1 where both are empty."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fp + fn, 1.0)


def precision(predicted: NDArray, true: NDArray) -> float:
    """Part of the predicted pixels that are true; with nothing predicted 1 if nothing is there, else 0."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fp, float(fn == 0))


def recall(predicted: NDArray, true: NDArray) -> float:
    """Part of the true pixels that were predicted; with nothing there 1 if nothing was predicted, else 0."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fn, float(fp == 0))


def specificity(predicted: NDArray, true: NDArray) -> float:
    """Part of the background that was left alone; 1 where there is no background."""
    _, fp, _, tn = _counts(predicted, true)
    return _ratio(tn, tn + fp, 1.0)
