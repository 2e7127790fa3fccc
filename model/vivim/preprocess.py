"""From decoded frames to the network's input and back to masks of the video's own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivim.metrics import dice, label_dice

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet statistics of RGB in [0, 1], as the reference normalises."""


def resize_frame(frame: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """One decoded frame to RGB uint8 ``(*size, 3)``, the aspect not kept, as in the paper.

    Parameters
    ----------
    frame : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16. 16-bit frames are stretched from their own minimum and
        maximum to 8 bits.
    size : tuple of int
        Height and width in pixels.
    """
    import cv2

    if frame.dtype != np.uint8:
        low, high = float(frame.min()), float(frame.max())
        frame = ((frame.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
    if frame.shape[:2] != size:
        shrinking = frame.shape[0] > size[0] and frame.shape[1] > size[1]
        frame = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else np.ascontiguousarray(frame)


def resize_mask(mask: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A label mask ``(H, W)`` to ``size``, nearest neighbour."""
    import cv2

    resized = cv2.resize(np.ascontiguousarray(mask), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8)


def normalise(frames: Tensor) -> Tensor:
    """RGB uint8 ``(..., H, W, 3)`` to ImageNet-normalised float32 ``(..., 3, H, W)`` on the same device."""
    mean = torch.tensor(MEAN, device=frames.device) * 255
    std = torch.tensor(STD, device=frames.device) * 255
    return ((frames.float() - mean) / std).movedim(-1, -3)


def stack_frames(frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Resized frames to one uint8 tensor ``(T, H, W, 3)``."""
    return torch.from_numpy(np.stack(frames))


def masks_from_logits(logits: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Logits ``(T, C, h, w)`` to label masks ``(T, *size)`` uint8.

    One class: 1 where the logit is positive. Several: the class (from 1) of the largest positive logit.
    """
    if tuple(logits.shape[-2:]) != tuple(size):
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    best, label = logits.max(dim=1)
    return torch.where(best > 0, label + 1, 0).to(torch.uint8).cpu().numpy()


def agreement(logits: Tensor, true: NDArray) -> float:
    """Dice of one frame's logits ``(1, C, H, W)`` with its label mask ``(H, W)``, by the masks that would be shown.

    With one class, every label of the mask counts as it; with several, see `vivim.metrics.label_dice`.
    """
    predicted = masks_from_logits(logits, true.shape)[0]  # type: ignore[arg-type]  # (H, W)
    return dice(predicted, true) if logits.shape[1] == 1 else label_dice(predicted, true)
