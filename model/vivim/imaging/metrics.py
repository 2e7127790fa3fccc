"""Scores of a predicted mask against a true one, arrays of one shape that count as inside where nonzero.

Where both masks are empty, nothing is there and nothing was found: overlap scores are 1. Precision is 1 where nothing
was predicted and nothing is there, 0 where nothing was predicted and something is. Recall likewise.
"""

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
    """Dice coefficient ``2 |P and T| / (|P| + |T|)``, in [0, 1]; 1 where both are empty."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(2 * tp, 2 * tp + fp + fn, 1.0)


def label_dice(predicted: NDArray, true: NDArray) -> float:
    """Mean Dice over the classes in either of two label masks, 1 where there are none; 0 is background.

    A class that is in neither is left out. Counted as 1 it would make every score look better than it is.
    """
    present = np.union1d(np.unique(predicted), np.unique(true))
    scores = [dice(predicted == label, true == label) for label in present if label]
    return float(np.mean(scores)) if scores else 1.0


def jaccard(predicted: NDArray, true: NDArray) -> float:
    """Jaccard index (IoU) ``|P and T| / |P or T|``, in [0, 1]; 1 where both are empty."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fp + fn, 1.0)


def precision(predicted: NDArray, true: NDArray) -> float:
    """Part of the predicted pixels that are true. With nothing predicted, 1 if nothing is there, else 0."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fp, float(fn == 0))


def recall(predicted: NDArray, true: NDArray) -> float:
    """Part of the true pixels that were predicted. With nothing there, 1 if nothing was predicted, else 0."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio(tp, tp + fn, float(fp == 0))


def specificity(predicted: NDArray, true: NDArray) -> float:
    """Part of the background that was not predicted. 1 where there is no background."""
    _, fp, _, tn = _counts(predicted, true)
    return _ratio(tn, tn + fp, 1.0)


def f_measure(predicted: NDArray, true: NDArray, beta_squared: float = 0.3) -> float:
    """F-measure ``(1 + b) P R / (b P + R)``, ``b = 0.3`` as in salient object detection; 1 where both are empty."""
    tp, fp, fn, _ = _counts(predicted, true)
    return _ratio((1 + beta_squared) * tp, (1 + beta_squared) * tp + beta_squared * fn + fp, 1.0)


def outline(mask: NDArray) -> NDArray[np.bool_]:
    """Pixels of a mask ``(H, W)`` with a neighbour outside. The picture's border counts as outside."""
    inside = np.pad(np.asarray(mask) > 0, 1)
    whole = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return inside[1:-1, 1:-1] & ~whole


def _outline_distances(predicted: NDArray, true: NDArray) -> list[NDArray]:
    """Distances of the pixels of each outline to the other outline, empty where its mask is."""
    import cv2

    _counts(predicted, true)  # same shapes
    edges = [outline(predicted), outline(true)]
    away = [cv2.distanceTransform((~e).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for e in edges]
    return [away[1 - k][edges[k]] for k in (0, 1)]


def hausdorff95(predicted: NDArray, true: NDArray) -> float:
    """95th percentile Hausdorff distance between outlines of masks ``(H, W)`` in pixels, of the larger direction.

    0 where both are empty, the picture's diagonal where one of them is.
    """
    one, other = _outline_distances(predicted, true)
    if not (one.size and other.size):
        return 0.0 if one.size == other.size else float(np.hypot(*np.shape(true)))
    return float(max(np.percentile(one, 95), np.percentile(other, 95)))


def boundary_f(predicted: NDArray, true: NDArray) -> float:
    """F measure of outlines of masks ``(H, W)``, in [0, 1], as DAVIS scores trackers; 1 where both are empty.

    A pixel of an outline is right within 0.8 % of the picture's diagonal of the other outline.
    """
    one, other = _outline_distances(predicted, true)
    if not (one.size and other.size):
        return float(one.size == other.size)
    near = np.ceil(0.008 * np.hypot(*np.shape(true)))
    kept, found = (float((away <= near).mean()) for away in (one, other))
    return _ratio(2 * found * kept, found + kept, 0.0)


def mean_absolute_error(probability: NDArray, true: NDArray) -> float:
    """Mean over the pixels of ``|probability - mask|``, in [0, 1]. The probability is not rescaled."""
    return float(np.abs(np.asarray(probability, np.float64) - (np.asarray(true) > 0)).mean())


def _at_thresholds(probability: NDArray, true: NDArray) -> tuple[NDArray[np.int64], ...]:
    """Counts of `_counts` ``(256,)``, where number k takes a probability of at least ``k / 255`` as predicted."""
    level = np.floor(np.clip(probability, 0, 1) * 255 + 1e-6).astype(int)
    inside = np.asarray(true) > 0
    tp, fp = (np.bincount(level[part], minlength=256)[::-1].cumsum()[::-1] for part in (inside, ~inside))
    return tp, fp, int(inside.sum()) - tp, int((~inside).sum()) - fp


def threshold_curves(probability: NDArray, true: NDArray) -> dict[str, NDArray[np.float64]]:
    """Dice, Jaccard and specificity at 256 thresholds of a probability ``(H, W)`` in [0, 1], each ``(256,)``."""
    tp, fp, fn, tn = _at_thresholds(probability, true)

    def ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
        return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)

    return {
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "jaccard": ratio(tp, tp + fp + fn),
        "specificity": ratio(tn, tn + fp),
    }


def s_measure(probability: NDArray, true: NDArray) -> float:
    """Structure measure (Fan et al., ICCV 2017), in [0, 1]: half by object and background, half by four regions.

    Parameters
    ----------
    probability : ndarray
        ``(H, W)`` float in [0, 1].
    true : ndarray
        ``(H, W)``. Where it is empty the measure is 1 minus the mean probability, where it is full that mean.
    """
    found, inside = np.asarray(probability, np.float64), np.asarray(true) > 0
    part = inside.mean()
    if part in (0, 1):
        return float(found.mean() if part else 1 - found.mean())
    objects = part * _evenness(found[inside]) + (1 - part) * _evenness(1 - found[~inside])
    # The four regions meet at the centre of the mask, which belongs to the first, as in the authors' program.
    y, x = (int(np.round(where.mean())) + 1 for where in np.nonzero(inside))
    regions = 0.0
    for rows in (slice(0, y), slice(y, None)):
        for columns in (slice(0, x), slice(x, None)):
            region = found[rows, columns]
            if region.size:
                regions += region.size / found.size * _similarity(region, inside[rows, columns])
    return float(max(0.0, (objects + regions) / 2))


def _evenness(values: NDArray) -> float:
    """Score of an object's values: high where they are near 1, and even."""
    mean, spread = values.mean(), values.std(ddof=1) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread)


def _similarity(found: NDArray, inside: NDArray) -> float:
    """Structural similarity of one region."""
    means, freedom = (found.mean(), inside.mean()), max(found.size - 1, 1)
    off = found - means[0], inside - means[1]
    together, *spreads = ((a * b).sum() / freedom for a, b in (off, (off[0], off[0]), (off[1], off[1])))
    numerator = 4 * means[0] * means[1] * together
    denominator = (means[0] ** 2 + means[1] ** 2) * sum(spreads)
    if numerator:
        return numerator / denominator
    return float(denominator == 0)


def e_measure(probability: NDArray, true: NDArray) -> float:
    """Enhanced alignment measure (Fan et al., IJCAI 2018), the mean over 256 thresholds, from 0 to about 1.

    Parameters
    ----------
    probability : ndarray
        ``(H, W)`` float in [0, 1].
    true : ndarray
        ``(H, W)``. Where it is empty or full, the part of the pixels that are right.
    """
    tp, fp, fn, tn = _at_thresholds(probability, true)
    size, part = np.size(true), (tp[0] + fn[0]) / np.size(true)
    aligned: NDArray[np.float64] = np.zeros(256)
    if part in (0, 1):
        aligned += tp + tn
    else:
        mean = (tp + fp) / size
        for count, predicted, there in ((tp, 1, 1), (fp, 1, 0), (fn, 0, 1), (tn, 0, 0)):
            a, b = predicted - mean, there - part
            aligned += count * (2 * a * b / (a**2 + b**2) + 1) ** 2 / 4
    return float((aligned / max(size - 1, 1)).mean())  # the authors' program divides by one pixel less
