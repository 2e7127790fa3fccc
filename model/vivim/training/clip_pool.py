"""Training material on the device of the network, all pictures as bytes."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.imaging.signed_distance import MAX_DISTANCE
from vivim.training.datasets import Clip


class ClipPool:
    """All clips of a dataset in one tensor on the device, clip after clip, all uint8.

    `frames` are ``(N, H, W, 3)``, `masks` ``(N, H, W)``. `marks` ``(clips,)`` int64 are as in
    `vivim.training.batch.Marks`.
    """

    def __init__(self, clips: Sequence[Clip], device: torch.device) -> None:
        self.frames = torch.from_numpy(np.concatenate([c.frames for c in clips])).to(device)
        self.masks = torch.from_numpy(np.concatenate([c.masks for c in clips])).to(device)
        lengths = [len(c.frames) for c in clips]
        self.lengths = np.array(lengths)
        self.marks = torch.tensor([int(c.marks) for c in clips], device=device)
        self.starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))

    def __len__(self) -> int:
        return len(self.lengths)


def truncated_distance(masks: Tensor, radius: int = int(MAX_DISTANCE)) -> Tensor:
    """Compute the signed distances of masks ``(n, H, W)`` on their device.

    Equal to `vivim.imaging.signed_distance.signed_distance` up to `radius` pixels, by two passes of a lower envelope
    over rows and columns.
    """

    def to_nearest(target: Tensor) -> Tensor:
        far = float(4 * radius * radius)
        field = torch.where(target, 0.0, far)
        for axis in (2, 1):
            pad = (radius, radius, 0, 0) if axis == 2 else (0, 0, radius, radius)
            padded = F.pad(field, pad, value=far)
            length = field.shape[axis]
            best = field
            for shift in range(-radius, radius + 1):
                best = torch.minimum(best, padded.narrow(axis, radius + shift, length) + shift * shift)
            field = best
        return field.sqrt()

    inside = masks > 0.5
    signed = torch.where(inside, to_nearest(~inside) - 0.5, 0.5 - to_nearest(inside))
    return signed.clamp(-MAX_DISTANCE, MAX_DISTANCE)


def distances_where(wanted: Tensor, masks: Tensor) -> Tensor:
    """`truncated_distance` of masks ``(B, T, H, W)`` in the frames ``(B, T)`` that are `wanted`, zeros elsewhere."""
    out = torch.zeros_like(masks)
    if wanted.any():
        out[wanted] = truncated_distance(masks[wanted])
    return out
