"""How unsure a model is of a frame: of the outline, and between windows.

Two numbers a frame, added up: the entropy of the outline in bits and, where several windows keep the frame, how much
their masks of it disagree. Jumps in shape are not among them: see docs/correction-loop.md for what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BAND = 5
"""Half width in pixels of the band around the outline in which uncertainty is measured."""

WINDOWS = 0.25
"""Weight of a disagreement between windows, beside a bit of entropy."""


@dataclass(frozen=True)
class FrameUncertainty:
    """How unsure a model is of some frames, and what of that comes from windows, both ``(n,)`` float32 in bits."""

    total: NDArray[np.float32]
    """What is added up: the entropy of the outline, and `windows`."""
    windows: NDArray[np.float32]
    """The disagreement between windows, times `WINDOWS`; 0 where one window alone kept a frame."""


def boundary_uncertainty(logits: Tensor) -> NDArray[np.float32]:
    """How unsure the network is of the outline: mean entropy in bits, of frames with logits ``(T, C, H, W)``.

    Measured within `BAND` pixels of the predicted outline; where nothing is predicted, over the most doubtful
    hundredth of the picture.
    """
    p = logits.float().sigmoid().amax(dim=1, keepdim=True)
    entropy = F.binary_cross_entropy(p, p, reduction="none") / np.log(2.0)
    inside = (p > 0.5).float()
    band = _largest_around(inside) + _largest_around(1 - inside) - 1
    in_band = (entropy * band).sum((1, 2, 3)) / band.sum((1, 2, 3)).clamp(min=1)
    uncertain_pixels = entropy.flatten(1).topk(max(1, entropy[0].numel() // 100), dim=1).values.mean(1)
    return torch.where(band.sum((1, 2, 3)) > 0, in_band, uncertain_pixels).cpu().numpy()


def _largest_around(picture: Tensor) -> Tensor:
    """The largest value within `BAND` pixels in each direction, of pictures ``(n, c, H, W)``."""
    width = 2 * BAND + 1
    along_rows = F.max_pool2d(picture, (1, width), 1, (0, BAND))
    return F.max_pool2d(along_rows, (width, 1), 1, (BAND, 0))


def difference(one: Tensor, other: Tensor) -> Tensor:
    """1 - Dice of masks ``(..., H, W)`` bool, as ``(...)`` float; 0 where both are empty."""
    both = (one.sum((-2, -1)) + other.sum((-2, -1))).clamp(min=1)
    return (one ^ other).sum((-2, -1)) / both


@dataclass
class Seen:
    """What windows have said of one frame so far.

    `logits` is the sum of theirs, ``(C, H, W)``, each times its weight; `masks` are what each would show, ``(H, W)``
    bool.
    """

    logits: Tensor | float = 0.0
    weights: list[float] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, weight: float, mask: Tensor) -> None:
        """One more window has said something, and counts by its weight."""
        self.logits = self.logits + weight * logits
        self.weights.append(weight)
        self.masks.append(mask)

    def mean(self) -> Tensor:
        """Mean of the logits ``(C, H, W)``."""
        assert isinstance(self.logits, Tensor)
        return self.logits / sum(self.weights)

    def doubt(self) -> Tensor:
        """What the disagreement between windows adds to the uncertainty: a number, not below 0.

        Two windows that count alike add in full; nothing comes from one that counts for nothing.
        """
        said = combinations(zip(self.weights, self.masks, strict=True), 2)
        pairs = [4 * a * b * difference(one, other) / (a + b) ** 2 for (a, one), (b, other) in said if a + b]
        return WINDOWS * torch.stack(pairs).mean() if pairs else torch.zeros((), device=self.masks[0].device)
