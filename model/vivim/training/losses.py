"""Losses for training and fine-tuning.

Source of the structure loss: Wei et al., "F3Net" (AAAI 2020), as used by the Vivim paper, weights applied.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EDGE_WINDOW = 31
EDGE_WEIGHT = 5.0


def structure_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Boundary-weighted cross-entropy plus boundary-weighted IoU loss, one value a frame.

    Parameters
    ----------
    logits, masks : Tensor
        ``(n, C, H, W)``; masks are float in {0, 1}.

    Returns
    -------
    Tensor
        ``(n,)``: for each frame the mean over classes. A pixel's weight is
        ``1 + 5 |avgpool31(mask) - mask|``; both terms are normalised by the sum of the weights.
    """
    logits, masks = logits.float(), masks.float()
    mean = F.avg_pool2d(masks, EDGE_WINDOW, stride=1, padding=EDGE_WINDOW // 2, count_include_pad=False)
    weight = 1 + EDGE_WEIGHT * (mean - masks).abs()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    cross_entropy = (weight * cross_entropy).sum((-1, -2)) / weight.sum((-1, -2))
    probability = logits.sigmoid()
    intersection = (weight * probability * masks).sum((-1, -2))
    union = (weight * (probability + masks)).sum((-1, -2)) - intersection
    return (cross_entropy + 1 - (intersection + 1) / (union + 1)).mean(dim=1)
