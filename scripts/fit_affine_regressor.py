"""Train the affine regressor: ``python scripts/fit_affine_regressor.py DATASET... [--steps N] [-o FILE]``.

Half of the edges are those of the data sets' masks, half of synthetic blobs. One of each pair is moved by a known
transform; the other is made to look like what a boundary head predicts: soft, faint, with false edges.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from vivim.training.boundary_loss import PATCH, WEIGHTS, AffineRegressor, sobel_edges
from vivim.training.datasets import load_dataset

SIDE = 256
"""Height and width that masks are read at."""

STILL = 0.2
"""Part of the pairs that do not move at all."""

FEWEST = 12
"""Edge pixels below which a patch says nothing."""


def synthetic_masks(generator: torch.Generator, count: int) -> Tensor:
    """Blobs whose radius waves ``(count, 256, 256)`` float of 0 and 1."""
    line = torch.linspace(-1, 1, SIDE)
    y, x = line[:, None], line[None]

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    y, x = y - drawn(-0.4, 0.4), (x - drawn(-0.4, 0.4)) * drawn(0.6, 1.6)
    angle, radius = torch.atan2(y, x), drawn(0.06, 0.6)
    waves = sum(drawn(-0.5, 0.5) / k * torch.cos(k * angle + drawn(0, 2 * math.pi)) for k in range(2, 9))
    return ((y**2 + x**2).sqrt() < radius * (1 + waves)).float()


def known_transforms(generator: torch.Generator, count: int) -> Tensor:
    """Transforms ``(count, 2, 3)``: turned, scaled, sheared and shifted by up to a third; for some the identity."""
    a, b, c, d = (torch.randn(count, generator=generator) * 0.13 for _ in range(4))
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * 0.7
    turned = torch.stack((torch.cos(a), -torch.sin(a), torch.sin(a), torch.cos(a)), -1).view(-1, 2, 2)
    stretched = torch.stack((b.exp(), d, torch.zeros_like(d), c.exp()), -1).view(-1, 2, 2)
    theta = torch.cat((turned @ stretched, shift[..., None]), -1)
    stays = torch.rand(count, 1, 1, generator=generator) < STILL
    return torch.where(stays, torch.eye(2, 3), theta)


@dataclass(frozen=True)
class Edges:
    """Edge maps and where their edges are."""

    maps: Tensor
    """``(N, 256, 256)`` uint8 of 0 and 1."""
    places: Tensor
    """``(k, 3)`` int: number, row and column of every edge pixel."""

    @classmethod
    def of(cls, masks: Tensor) -> Edges:
        """Those of masks ``(N, 256, 256)`` float, maps with hardly any left out."""
        maps = sobel_edges(masks[:, None])[:, 0].to(torch.uint8)
        maps = maps[maps.sum((1, 2)) > 40]
        return cls(maps, maps.nonzero())


def pairs(edges: Edges, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Patches moved and not, and the transforms between them.

    Parameters
    ----------
    edges : Edges
        What to cut patches from.

    Returns
    -------
    target, moved, theta : Tensor
        ``(n, 32, 32)``, ``(n, 32, 32)`` and ``(n, 2, 3)`` with ``target(x) = moved(theta x)``; n is at most `count`.
    """
    picked = edges.places[torch.randint(len(edges.places), (count,), generator=generator)]
    chosen = edges.maps[picked[:, 0]].float()
    centre = picked[:, [2, 1]] / (SIDE / 2) - 1
    centre = centre + (torch.rand(count, 2, generator=generator) - 0.5) * PATCH / SIDE
    zoom = PATCH / SIDE * torch.exp(torch.rand(count, generator=generator) * 1.2 - 0.3)
    theta = known_transforms(generator, count)
    still = torch.eye(2, 3).expand(count, 2, 3)

    def seen(of: Tensor) -> Tensor:
        placed = of * zoom[:, None, None]
        placed = torch.cat((placed[..., :2], placed[..., 2:] + centre[..., None]), -1)
        grid = F.affine_grid(placed, [count, 1, PATCH, PATCH], align_corners=False)
        return F.grid_sample(chosen[:, None], grid, align_corners=False)[:, 0]

    target, moved = (seen(theta) > 0.4).float(), seen(still)
    kept = (target.sum((1, 2)) >= FEWEST) & (moved.sum((1, 2)) >= FEWEST)
    return target[kept], _as_predicted(moved[kept], generator), theta[kept]


def _as_predicted(edges: Tensor, generator: torch.Generator) -> Tensor:
    """Edges ``(n, 32, 32)`` made soft and faint, with false edges of others on a few."""
    count = len(edges)
    soft = F.avg_pool2d(edges[:, None], 3, 1, 1)
    softer = F.avg_pool2d(soft, 3, 1, 1)
    mixed = torch.rand(count, 3, 1, 1, generator=generator)
    mixed = mixed / mixed.sum(1, keepdim=True)
    blurred = (torch.cat((edges[:, None], soft, softer), 1) * mixed).sum(1)
    blurred = blurred / blurred.amax((1, 2), keepdim=True).clamp(min=1e-3)
    strength = 0.3 + 0.7 * torch.rand(count, 1, 1, generator=generator)
    false = (torch.rand(count, 1, 1, generator=generator) < 0.1) * 0.4 * soft[:, 0].roll(1, 0)
    noise = 0.05 * torch.rand(edges.shape, generator=generator)
    return (blurred * strength + false + noise).clamp(0, 1)


def fit(masks: Sequence[Tensor], steps: int, seed: int = 0, batch: int = 128) -> AffineRegressor:
    """Train a regressor on the edges of real masks ``(N, 256, 256)`` and of as many synthetic ones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    made = torch.cat([*masks, synthetic_masks(generator, max(400, sum(len(m) for m in masks)))])
    edges = Edges.of(made)
    regressor = AffineRegressor()
    optimiser = torch.optim.AdamW(regressor.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        target, moved, theta = pairs(edges, generator, batch)
        loss = F.smooth_l1_loss(regressor(target, moved), theta - torch.eye(2, 3), beta=0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 499:
            print(f"step {step + 1}: loss {float(loss.detach()):.4f}", flush=True)
    return regressor.eval()


@torch.no_grad()
def mean_errors(regressor: AffineRegressor, edges: Edges, seed: int = 1) -> tuple[float, float]:
    """Mean of ``|theta - found|_F`` on fresh pairs, and of ``|theta - I|_F``, the error of saying nothing moved."""
    target, moved, theta = pairs(edges, torch.Generator().manual_seed(seed), 2000)
    away = theta - torch.eye(2, 3)
    found = regressor(target, moved)
    return float((found - away).flatten(1).norm(dim=1).mean()), float(away.flatten(1).norm(dim=1).mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Read masks, train, say how well it does on masks kept out, and write the file."""
    parser = argparse.ArgumentParser(prog="python scripts/fit_affine_regressor.py", description=__doc__)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="folders of clips: FOLDER[:LABEL]")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="CLIP", help="clips kept for the check")
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("-o", "--output", type=Path, default=WEIGHTS)
    args = parser.parse_args(argv)
    clips = [clip for spec in args.datasets for clip in load_dataset(spec, (SIDE, SIDE))]
    used = [c for c in clips if Path(c.name).name not in args.leave_out]
    kept = [c for c in clips if Path(c.name).name in args.leave_out]
    regressor = fit([torch.from_numpy(clip.masks).float() for clip in used], args.steps)
    check = (
        torch.from_numpy(np.concatenate([c.masks for c in kept])).float()
        if kept
        else synthetic_masks(torch.Generator().manual_seed(99), 400)
    )
    error, nothing = mean_errors(regressor, Edges.of(check))
    print(
        f"mean error {error:.3f}, of the identity {nothing:.3f} ({'clips kept out' if kept else 'synthetic'})"
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in regressor.state_dict().items()}, args.output)


if __name__ == "__main__":
    main()
