"""Agreement beyond chance on whether something is there: Cohen's kappa for two readers, Fleiss' for more."""

import numpy as np
from numpy.typing import NDArray


def kappa(present: NDArray[np.bool_]) -> float:
    """Kappa of readers who said yes or no, up to 1. NaN where chance alone would make them agree always.

    `present`: ``(frames, readers)``. Two readers give Cohen's kappa (Educational and Psychological Measurement 1960),
    more give Fleiss' (Psychological Bulletin 1971).
    """
    frames, readers = present.shape
    if not frames or readers < 2:
        return float("nan")
    observed = presence_agreement(present)
    yes = present.mean(axis=0)
    yes = yes if readers == 2 else np.full(2, yes.mean())  # Fleiss takes all readers for alike
    by_chance = yes.prod() + (1 - yes).prod()
    return float((observed - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")


def presence_agreement(present: NDArray[np.bool_]) -> float:
    """Part of all pairs of readers and frames in which both said the same, NaN without frames."""
    frames, readers = present.shape
    if not frames:
        return float("nan")
    yes = present.sum(axis=1)
    no = readers - yes
    same = yes * (yes - 1) + no * (no - 1)
    return float(same.mean() / (readers * (readers - 1)))
