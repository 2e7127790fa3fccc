"""What the prompt head learns to segment: the marked masks, and whatever else stands out in the same pictures."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vivim.training.datasets import Clip
from vivim.utils.system import cores

SEGMENT_SIDE = 128
"""Pictures are cut into segments at this size."""

SCALES = ((60, 40), (250, 120), (900, 300))
"""Scale and least size of Felzenszwalb's segments, from parts of things to things."""

LEAST, MOST = 60, 0.45
"""Pixels a target has at least, at 256 x 256, and part of the picture it has at most."""

MARKED = 8
"""Labels of masks that count, from 1."""


class Material:
    """Pictures, masks and segments of clips and stills of one size, in the memory of a device.

    Any label of their masks is a target. Each clip is drawn by its weight, else by the square root of its frames.
    """

    def __init__(
        self, clips: Sequence[Clip], device: torch.device, weights: Sequence[float] | None = None
    ) -> None:
        frames = np.concatenate([clip.frames for clip in clips])
        self.frames = torch.from_numpy(frames).to(device)
        self.masks = torch.from_numpy(np.concatenate([clip.masks for clip in clips])).to(device)
        self.segments = torch.from_numpy(segmented(frames)).to(device)
        counts = np.array([len(clip.frames) for clip in clips])
        share = np.sqrt(counts) if weights is None else np.asarray(weights, float)
        self.odds = torch.from_numpy(np.repeat(share / counts, counts)).float().to(device)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        self.first = torch.from_numpy(first).to(device)
        self.last = torch.from_numpy(first + np.repeat(counts, counts) - 1).to(device)
        self.moving = torch.from_numpy(np.repeat([not clip.stills for clip in clips], counts)).to(device)

    def neighbour(self, index: Tensor, step: Tensor | int) -> Tensor:
        """Index of the frame so many steps on in the same clip, stopped at its ends. A still has none but itself."""
        there = torch.minimum(torch.maximum(index + step, self.first[index]), self.last[index])
        return torch.where(self.moving[index], there, index)


def segmented(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Segments of pictures ``(N, H, W, 3)`` at several scales, ``(N, scales, SEGMENT_SIDE, SEGMENT_SIDE)`` int16."""
    if len(frames) < 64:
        return np.stack([_segments(frame) for frame in frames])
    with ProcessPoolExecutor(cores()) as pool:
        return np.stack(list(pool.map(_segments, frames, chunksize=16)))


def _segments(frame: NDArray[np.uint8]) -> NDArray[np.int16]:
    import cv2
    from skimage.segmentation import felzenszwalb

    cv2.setNumThreads(1)
    soft = cv2.GaussianBlur(frame, (0, 0), frame.shape[0] / 170)
    small = cv2.resize(soft, (SEGMENT_SIDE, SEGMENT_SIDE), interpolation=cv2.INTER_AREA)
    found = [felzenszwalb(small, scale=scale, sigma=0.6, min_size=least) for scale, least in SCALES]
    return np.stack(found).astype(np.int16)


def choose_targets(masks: Tensor, segments: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Choose what is to be segmented in each picture: a marked mask, or in about `share` of them some segment.

    `masks` are labels ``(n, H, W)``, `segments` ``(n, scales, H, W)``. Returns bool ``(n, H, W)``, empty where nothing
    of a fitting size was found, and bool ``(n,)``: it is a marked mask.
    """
    n, height, width = masks.shape
    least, rows = LEAST * height * width / 65536, torch.arange(n, device=masks.device)

    def fits(target: Tensor) -> Tensor:
        area = target.flatten(1).sum(1)
        return (area > least) & (area < MOST * height * width)

    sizes = torch.stack([(masks == label).flatten(1).sum(1) for label in range(1, MARKED + 1)], 1)
    label = torch.multinomial((sizes > least).float() + 1e-6, 1)[:, 0] + 1
    mask = masks == label[:, None, None]
    scale = torch.randint(segments.shape[1], (n,), device=masks.device)
    labels = segments[rows, scale]

    def segment_at(where: Tensor) -> Tensor:
        """The segment at a random place of `where` ``(n, H, W)`` float."""
        at = torch.multinomial(where.flatten(1) + 1e-9, 1)
        return labels == labels.flatten(1).gather(1, at)[:, :, None]

    segment = segment_at(torch.ones_like(labels, dtype=torch.float32))
    wider = F.max_pool2d(segment.float()[:, None], 9, 1, 4)[:, 0] - segment.float()
    merged = segment | segment_at(wider)
    segment = torch.where(_chance(n, 0.4, masks), merged, segment)
    part = mask & segment_at(mask.float())  # a part of what is marked
    segment = torch.where(_chance(n, 0.15, masks) & fits(part)[:, None, None], part, segment)
    segment = F.avg_pool2d(segment.float()[:, None], 7, 1, 3)[:, 0] > 0.5
    marked = fits(mask) & ((torch.rand(n, device=masks.device) >= share) | ~fits(segment))
    target = torch.where(marked[:, None, None], mask, segment)
    return target & fits(target)[:, None, None], marked


def _chance(n: int, odds: float, like: Tensor) -> Tensor:
    return torch.rand(n, 1, 1, device=like.device) < odds
