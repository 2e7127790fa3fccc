"""Conversion of decoded frames to network input, and of logits to masks."""

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
    """Normalise RGB uint8 ``(..., H, W, 3)`` to float32 ``(..., 3, H, W)`` by ImageNet's statistics."""
    mean = torch.tensor(MEAN, device=frames.device) * 255
    std = torch.tensor(STD, device=frames.device) * 255
    return ((frames.float() - mean) / std).movedim(-1, -3)


def stack_frames(frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Stack resized frames into one uint8 tensor ``(T, H, W, 3)``."""
    return torch.from_numpy(np.stack(frames))


def mask_from_logits(logits: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Convert logits ``(C, h, w)`` of one frame to its label mask ``size`` uint8.

    A pixel gets the class (from 1) of its largest positive logit, the first of equals, or 0. Classes are enlarged one
    at a time, so that memory does not grow with their number.
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


def dice_of_logits(logits: Tensor, true: NDArray) -> float:
    """Dice of the mask from one frame's logits ``(1, C, H, W)`` with its label mask ``(H, W)``.

    With one class, every label of the mask counts as it. With several, see `vivim.imaging.metrics.label_dice`.
    """
    predicted = mask_from_logits(logits[0], true.shape)  # type: ignore[arg-type]
    return dice(predicted, true) if logits.shape[1] == 1 else label_dice(predicted, true)
