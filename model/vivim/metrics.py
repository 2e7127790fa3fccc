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


def label_dice(predicted: NDArray, true: NDArray) -> float:
    """Mean Dice over the classes that are in either of two label masks, 0 being background; 1 where there are none.

    A class that is in neither says nothing: counted as 1 it would make every score look better than it is.
    """
    present = np.union1d(np.unique(predicted), np.unique(true))
    scores = [dice(predicted == label, true == label) for label in present if label]
    return float(np.mean(scores)) if scores else 1.0


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


def f_measure(predicted: NDArray, true: NDArray, beta_squared: float = 0.3) -> float:
    """F-measure, ``(1 + b) P R / (b P + R)`` with ``b = 0.3`` as in salient object detection; 1 where both are empty.

    With ``beta_squared=1`` this is `dice`.
    """
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio((1 + beta_squared) * tp, (1 + beta_squared) * tp + beta_squared * fn + fp, 1.0)


def outline(mask: NDArray) -> NDArray[np.bool_]:
    """Pixels of a mask ``(H, W)`` with a side on the outside; the picture's border counts as outside."""
    inside = np.pad(np.asarray(mask) > 0, 1)
    whole = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return inside[1:-1, 1:-1] & ~whole


def hausdorff95(predicted: NDArray, true: NDArray) -> float:
    """The larger of the two 95th percentiles of distances between outlines of masks ``(H, W)``, in pixels.

    0 where both are empty; the picture's diagonal where one of them is.
    """
    import cv2

    _counts(predicted, true)  # same shapes
    edges = [outline(predicted), outline(true)]
    if not (edges[0].any() and edges[1].any()):
        return 0.0 if not edges[0].any() and not edges[1].any() else float(np.hypot(*edges[0].shape))
    away = [cv2.distanceTransform((~e).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for e in edges]
    return float(max(np.percentile(away[1][edges[0]], 95), np.percentile(away[0][edges[1]], 95)))


def mean_absolute_error(probability: NDArray, true: NDArray) -> float:
    """Mean over the pixels of ``|probability - mask|``, in [0, 1]; nothing is stretched beforehand."""
    return float(np.abs(np.asarray(probability, np.float64) - (np.asarray(true) > 0)).mean())


def threshold_curves(probability: NDArray, true: NDArray) -> dict[str, NDArray[np.float64]]:
    """Dice, Jaccard and specificity at 256 thresholds.

    Parameters
    ----------
    probability : ndarray
        ``(H, W)`` float in [0, 1].
    true : ndarray
        ``(H, W)``.

    Returns
    -------
    dict
        ``"dice"``, ``"jaccard"``, ``"specificity"``: ``(256,)`` each; number k counts the pixels whose probability is
        at least ``k / 255``.
    """
    level = np.floor(np.clip(probability, 0, 1) * 255 + 1e-6).astype(int)
    inside = np.asarray(true) > 0
    tp, fp = (np.bincount(level[part], minlength=256)[::-1].cumsum()[::-1] for part in (inside, ~inside))
    fn, tn = int(inside.sum()) - tp, int((~inside).sum()) - fp

    def ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
        return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)

    return {
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "jaccard": ratio(tp, tp + fp + fn),
        "specificity": ratio(tn, tn + fp),
    }
