"""From decoded frames to the network's input and back to masks of the video's own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivim.imaging.metrics import dice, label_dice

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in [0, 1], as the reference normalises."""


def normalise(frames: Tensor) -> Tensor:
    """RGB uint8 ``(..., H, W, 3)`` to ImageNet-normalised float32 ``(..., 3, H, W)`` on the same device."""
    mean = torch.tensor(MEAN, device=frames.device) * 255
    std = torch.tensor(STD, device=frames.device) * 255
    return ((frames.float() - mean) / std).movedim(-1, -3)


def stack_frames(frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Resized frames to one uint8 tensor ``(T, H, W, 3)``."""
    return torch.from_numpy(np.stack(frames))


def mask_from_logits(logits: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Logits ``(C, h, w)`` of one frame to its label mask ``size`` uint8.

    One class: 1 where the logit is positive. Several: the class (from 1) of the largest positive logit, the first of
    equals. Classes are enlarged one at a time, so that memory does not grow with their number.
    """
    mask = torch.zeros(size, dtype=torch.uint8, device=logits.device)
    best: Tensor | None = None
    for label, plane in enumerate(logits, start=1):
        if tuple(plane.shape) != tuple(size):
            plane = F.interpolate(plane[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        better = plane > (0 if best is None else best)
        mask.masked_fill_(better, label)
        if label < len(logits):
            best = torch.where(better, plane, 0 if best is None else best)
    return mask.cpu().numpy()


def agreement(logits: Tensor, true: NDArray) -> float:
    """Dice of one frame's logits ``(1, C, H, W)`` with its label mask ``(H, W)``, by the masks that would be shown.

    With one class, every label of the mask counts as it; with several, see `vivim.imaging.metrics.label_dice`.
    """
    predicted = mask_from_logits(logits[0], true.shape)  # type: ignore[arg-type]
    return dice(predicted, true) if logits.shape[1] == 1 else label_dice(predicted, true)
