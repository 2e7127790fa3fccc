"""Uncertainty of a model about a frame: entropy at the outline, and disagreement between windows.

The two are added up: the entropy of the outline in bits and, where several windows keep the frame, how much their masks
of it disagree. Jumps in shape are no part of it, see docs/measurements.md for what was measured.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BAND = 5
"""Half width in pixels of the band around the outline in which uncertainty is measured."""

DISAGREEMENT_WEIGHT = 0.25
"""Weight of a disagreement between windows, beside a bit of entropy."""


@dataclass(frozen=True)
class FrameUncertainties:
    """Uncertainty of some frames, ``(n,)`` float32 in bits each."""

    total: NDArray[np.float32]
    """The entropy of the outline, plus `windows`."""
    windows: NDArray[np.float32]
    """The disagreement between windows, times `DISAGREEMENT_WEIGHT`; 0 where one window alone kept a frame."""


def boundary_uncertainty(logits: Tensor) -> NDArray[np.float32]:
    """Mean entropy in bits ``(T,)`` at the outline, of frames with logits ``(T, C, H, W)``.

    Measured within `BAND` pixels of the predicted outline. Where nothing is predicted, it is measured over the most
    uncertain hundredth of the picture.
    """
    p = logits.float().sigmoid().amax(dim=1, keepdim=True)
    entropy = F.binary_cross_entropy(p, p, reduction="none") / np.log(2.0)
    predicted = (p > 0.5).float()
    band = _dilate(predicted) + _dilate(1 - predicted) - 1
    in_band = (entropy * band).sum((1, 2, 3)) / band.sum((1, 2, 3)).clamp(min=1)
    most_uncertain = entropy.flatten(1).topk(max(1, entropy[0].numel() // 100), dim=1).values.mean(1)
    return torch.where(band.sum((1, 2, 3)) > 0, in_band, most_uncertain).cpu().numpy()


def _dilate(mask: Tensor) -> Tensor:
    """Largest value within `BAND` pixels in each direction, of ``(n, c, H, W)``."""
    width = 2 * BAND + 1
    along_rows = F.max_pool2d(mask, (1, width), 1, (0, BAND))
    return F.max_pool2d(along_rows, (width, 1), 1, (BAND, 0))


def difference(one: Tensor, other: Tensor) -> Tensor:
    """1 - Dice of masks ``(..., H, W)`` bool, as ``(...)`` float; 0 where both are empty."""
    both = (one.sum((-2, -1)) + other.sum((-2, -1))).clamp(min=1)
    return (one ^ other).sum((-2, -1)) / both
