"""Smooth random motion, which turns stills into clips and augments real clips."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


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
    """Move pictures ``(n, c, H, W)`` by affine `theta` ``(n, 2, 3)`` and an optional field ``(n, *size, 2)``.

    The result is ``(n, c, *size)``; `size` is that of the pictures by default.
    """
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
