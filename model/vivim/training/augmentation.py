"""Augmentation drawn once for a whole clip: smooth random motion, which turns stills into clips, and another look."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.network.preprocessing import normalise


def smooth_motion(
    rng: np.random.Generator, count: int, frames: int, base: float, step: float, zoom: float = 0.0
) -> Tensor:
    """Draw affine trajectories ``(count, frames, 2, 3)``: a start drawn at scale `base`, then a smooth walk.

    Five parameters (rotation, scale, stretch, shift x, shift y) move with inertia, so that neighbours are alike.
    `zoom`, the deviation of the scale's logarithm, widens the draw of the scale at the start.
    """
    state = rng.normal(size=(count, 5)) * base
    state[:, 1] += rng.normal(size=count) * 2 * zoom
    speed = rng.normal(size=(count, 5)) * step
    path = [state]
    for _ in range(frames - 1):
        speed = 0.7 * speed + 0.5 * rng.normal(size=(count, 5)) * step
        path.append(path[-1] + speed)
    return affine_matrices(torch.tensor(np.stack(path, axis=1), dtype=torch.float32))


def panned(rng: np.random.Generator, theta: Tensor, share: float) -> Tensor:
    """Let a close-up pan across the picture in about `share` of the trajectories ``(count, frames, 2, 3)``.

    What is marked may be out of view in some or all of the frames.
    """
    count, frames = theta.shape[:2]
    close = torch.from_numpy(np.where(rng.random(count) < share, rng.uniform(0.35, 0.7, count), 1.0))
    ends = torch.from_numpy(rng.uniform(-1, 1, (count, 2, 2))) * (1 - close)[:, None, None]
    along = torch.linspace(0, 1, frames, dtype=ends.dtype)[:, None]
    path = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * along
    moved = theta * close.view(-1, 1, 1, 1).to(theta)
    moved[..., 2] += path.to(theta)
    return moved


def affine_matrices(parameters: Tensor) -> Tensor:
    """Matrices ``(..., 2, 3)`` from (rotation, scale, stretch, shift x, shift y) ``(..., 5)``."""
    rotation, scale, stretch, x, y = parameters.unbind(-1)
    cos, sin = torch.cos(0.5 * rotation), torch.sin(0.5 * rotation)
    sx, sy = torch.exp(-0.5 * scale), torch.exp(-0.5 * scale - 0.15 * stretch)
    rows = (torch.stack((cos * sx, -sin * sy, 0.4 * x), -1), torch.stack((sin * sx, cos * sy, 0.4 * y), -1))
    return torch.stack(rows, dim=-2)


def warp(
    pictures: Tensor, theta: Tensor, bend: Tensor | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Move pictures ``(n, c, H, W)`` by affine `theta` ``(n, 2, 3)`` and an optional field ``(n, *size, 2)``."""
    height, width = size or (int(pictures.shape[2]), int(pictures.shape[3]))
    shape = [int(pictures.shape[0]), int(pictures.shape[1]), height, width]
    grid = F.affine_grid(theta.to(pictures.device), shape, align_corners=False)
    if bend is not None:
        grid = grid + bend
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def elastic_field(
    generator: torch.Generator, count: int, frames: int, size: tuple[int, int], strength: float
) -> Tensor:
    """Smooth deformations ``(count * frames, *size, 2)`` in units of the half width, drifting over time."""
    device = generator.device
    ends = torch.randn(count, 2, 2, 5, 5, device=device, generator=generator) * strength
    along = torch.linspace(0, 1, frames, device=device).view(1, frames, 1, 1, 1)
    knots = (ends[:, :1] * (1 - along) + ends[:, 1:] * along).flatten(0, 1)
    return F.interpolate(knots, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


REGRAINED = 0.3
"""Part of the clips made from stills whose grain changes from frame to frame."""


class Augment:
    """Augmentations drawn from one generator, each of `count` clips by itself, so that a batch depends on its seed."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self._generator, self._count = generator, count

    def uniform(self, low: float, high: float, channels: int = 1) -> Tensor:
        """Draw one number for each clip and channel, ``(count, 1, channels, 1, 1)``."""
        shape = (self._count, 1, channels, 1, 1)
        drawn = torch.rand(shape, device=self._generator.device, generator=self._generator)
        return low + (high - low) * drawn

    def chosen(self, odds: float) -> Tensor:
        """Draw True for about `odds` of the clips, ``(count, 1, 1, 1, 1)``."""
        return self.uniform(0.0, 1.0) < odds

    def flips(self, *tensors: Tensor) -> list[Tensor]:
        """Mirror half of the clips ``(count, T, ..., H, W)`` left-right and some upside down, in all tensors alike."""
        moved = list(tensors)
        for axis, odds in ((-1, 0.5), (-2, 0.3)):
            pick = self.chosen(odds).flatten()
            moved = [torch.where(pick.view(-1, *[1] * (v.dim() - 1)), v.flip(axis), v) for v in moved]
        return moved

    def look(self, pictures: Tensor) -> Tensor:
        """Turn pictures ``(count, T, 3, H, W)`` float in [0, 255] into network inputs of another look.

        Gamma, contrast, brightness, colour, sharpness, resolution, speckle (multiplied) and noise (added).
        """
        bright = (pictures / 255).clamp(1e-4, 1)
        bright = bright ** torch.exp(self.uniform(-0.4, 0.4))
        grain = self.uniform(-0.3, 0.25).clamp(min=0) * self._noise(pictures, coarse=True)
        x = normalise((bright * (1 + grain) * 255).movedim(-3, -1))
        x = x * self.uniform(0.65, 1.4) + self.uniform(-0.45, 0.45) + self.uniform(-0.2, 0.2, 3)
        grey = x.mean(2, keepdim=True)
        x = grey + (x - grey) * torch.where(self.chosen(0.25), 0.0, self.uniform(0.6, 1.4))
        soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(x)
        x = torch.where(self.chosen(0.2), soft, torch.where(self.chosen(0.15), 2 * x - soft, x))
        x = torch.where(self.chosen(0.1), _coarser(x), x)
        return x + self.uniform(-0.05, 0.12).clamp(min=0) * self._noise(x)

    def _noise(self, like: Tensor, coarse: bool = False) -> Tensor:
        """Gaussian noise of the shape of `like`, where coarse noise is equal in all colours and over 2x2 pixels."""
        if not coarse:
            return torch.randn(like.shape, device=like.device, generator=self._generator)
        count, frames, _, height, width = like.shape
        shape = (count, frames, 1, height // 2, width // 2)
        grains = torch.randn(shape, device=like.device, generator=self._generator).flatten(0, 1)
        return F.interpolate(grains, scale_factor=2, mode="nearest").view(count, frames, 1, height, width)


def regrained(rng: np.random.Generator, pictures: Tensor) -> Tensor:
    """Change part of the grain from frame to frame in some of the clips ``(count, T, 3, H, W)``.

    In ultrasound speckle does not move with the tissue for long, and a still that is moved as a whole would teach that
    it does. The new grain is the picture's own, from a place some pixels away.
    """
    count, frames, _, height, width = pictures.shape
    share = np.where(rng.random(count) < REGRAINED, rng.random(count), 0.0)
    shifts = rng.integers((height // 16, width // 16), (height // 2, width // 2), (frames, 2))
    if not share.any():
        return pictures
    other = torch.from_numpy(share).float().to(pictures.device).view(count, 1, 1, 1, 1)
    soft = F.avg_pool2d(pictures.flatten(0, 1), 5, 1, 2, count_include_pad=False).view_as(pictures)
    grain = pictures - soft
    moved = torch.stack([grain[:, t].roll(tuple(shifts[t].tolist()), (-2, -1)) for t in range(frames)], dim=1)
    return soft + (1 - other.square()).sqrt() * grain + other * moved


def _coarser(x: Tensor) -> Tensor:
    """Halve the resolution, and go back to the full one."""
    flat = x.flatten(0, 1)
    small = F.avg_pool2d(flat, 2)
    return F.interpolate(small, size=flat.shape[-2:], mode="bilinear", align_corners=False).view_as(x)
