"""Losses for training and fine-tuning.

Source of the structure loss: Wei et al., "F3Net" (AAAI 2020), as used by the Vivim paper, weights applied.
"""

import torch.nn.functional as F
from torch import Tensor

EDGE_WINDOW = 31
EDGE_WEIGHT = 5.0


def boundary_weight(masks: Tensor) -> Tensor:
    """Weight of every pixel of masks ``(n, C, H, W)`` float: ``1 + 5 |avgpool31(mask) - mask|``, within the picture."""
    half = EDGE_WINDOW // 2
    mean = F.avg_pool2d(masks, (1, EDGE_WINDOW), stride=1, padding=(0, half), count_include_pad=False)
    mean = F.avg_pool2d(mean, (EDGE_WINDOW, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return 1 + EDGE_WEIGHT * (mean - masks).abs()


def structure_loss(logits: Tensor, masks: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the boundary-weighted cross-entropy plus IoU loss, ``(n,)``: the mean over classes of each frame.

    `logits` and `masks` (float in {0, 1}) are ``(n, C, H, W)``, `weight` their `boundary_weight` where it is at hand.
    """
    logits, masks = logits.float(), masks.float()
    weight = boundary_weight(masks) if weight is None else weight
    cross_entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    cross_entropy = (weight * cross_entropy).sum((-1, -2)) / weight.sum((-1, -2))
    probability = logits.sigmoid()
    intersection = (weight * probability * masks).sum((-1, -2))
    union = (weight * (probability + masks)).sum((-1, -2)) - intersection
    return (cross_entropy + 1 - (intersection + 1) / (union + 1)).mean(dim=1)
