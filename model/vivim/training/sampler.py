"""Random training batches, made where the network runs.

All pictures stay in the device's memory as bytes; a batch is gathered, moved, coloured and guided there in a few
large operations. Half of a batch are windows of real clips, half are stills that a smooth random motion turns
into clips. One draw of every augmentation holds for a whole clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vivim import guidance
from vivim.distance import MAX_DISTANCE
from vivim.preprocess import normalise
from vivim.training.data import Clip

MAX_SPAN = 32
"""Longest stretch of a clip, in frames, that one window may reach over."""


@dataclass(frozen=True)
class Batch:
    """One training batch; `guide` is all zeros for clips without guidance, `known` marks frames given as masks."""

    x: Tensor
    """``(B, T, 3, H, W)`` float, normalised."""
    masks: Tensor
    """``(B, T, H, W)`` float of 0 and 1."""
    guide: Tensor
    """``(B, T, 2, H, W)`` float."""
    known: Tensor
    """``(B, T)`` bool."""
    prior: Tensor
    """``(B, T, H, W)`` float: the propagated signed distance by itself, for comparison."""


def truncated_distance(masks: Tensor, radius: int = int(MAX_DISTANCE)) -> Tensor:
    """Signed distance of many masks ``(n, H, W)`` at once: `vivim.distance.signed_distance` on the device.

    Exact up to `radius` pixels, by two passes of a lower envelope over rows and columns.
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
    """`truncated_distance` of the frames ``(B, T)`` bool of masks ``(B, T, H, W)``; zeros elsewhere."""
    out = torch.zeros_like(masks)
    if wanted.any():
        out[wanted] = truncated_distance(masks[wanted])
    return out


class ClipPool:
    """All clips of a dataset in one tensor on the device, with the optical flow between neighbours."""

    def __init__(self, clips: Sequence[Clip], device: torch.device, flow: bool) -> None:
        self.frames = torch.from_numpy(np.concatenate([c.frames for c in clips])).to(device)
        self.masks = torch.from_numpy(np.concatenate([c.masks for c in clips])).to(device)
        lengths = [len(c.frames) for c in clips]
        self.lengths = np.array(lengths)
        self.starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        self.onward: Tensor | None = None
        self.back: Tensor | None = None
        if flow:
            pairs = [_flow_pairs(c) for c in clips]
            self.onward = torch.from_numpy(np.concatenate([p[0] for p in pairs])).to(device)
            self.back = torch.from_numpy(np.concatenate([p[1] for p in pairs])).to(device)

    def __len__(self) -> int:
        return len(self.lengths)


def _flow_pairs(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Flow from frame t to t-1 and from t to t+1, ``(T, H, W, 2)`` float16 each; zeros where there is none."""
    import cv2

    flow = guidance.OpticalFlow()
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames]
    onward = np.zeros((*clip.masks.shape, 2), np.float16)
    back = np.zeros_like(onward)
    for t in range(1, len(grey)):
        onward[t] = flow(grey[t], grey[t - 1])
        back[t - 1] = flow(grey[t - 1], grey[t])
    return onward, back


def smooth_motion(
    generator: np.random.Generator, count: int, frames: int, base: float, step: float
) -> Tensor:
    """Random affine trajectories ``(count, frames, 2, 3)``: a start drawn at scale `base`, then a smooth walk.

    Five parameters (rotation, scale, stretch, shift x, shift y) move with inertia, so that neighbours are alike.
    """
    state = generator.normal(size=(count, 5)) * base
    speed = generator.normal(size=(count, 5)) * step
    path = [state]
    for _ in range(frames - 1):
        speed = 0.7 * speed + 0.5 * generator.normal(size=(count, 5)) * step
        path.append(path[-1] + speed)
    return affine_matrices(torch.tensor(np.stack(path, axis=1), dtype=torch.float32))


def affine_matrices(parameters: Tensor) -> Tensor:
    """Matrices ``(..., 2, 3)`` from (rotation, scale, stretch, shift x, shift y) ``(..., 5)``."""
    rotation, scale, stretch, x, y = parameters.unbind(-1)
    cos, sin = torch.cos(0.5 * rotation), torch.sin(0.5 * rotation)
    sx, sy = torch.exp(-0.5 * scale), torch.exp(-0.5 * scale - 0.15 * stretch)
    rows = (torch.stack((cos * sx, -sin * sy, 0.4 * x), -1), torch.stack((sin * sx, cos * sy, 0.4 * y), -1))
    return torch.stack(rows, dim=-2)


def warp(pictures: Tensor, theta: Tensor, bend: Tensor | None = None) -> Tensor:
    """Move pictures ``(n, c, H, W)`` by affine `theta` ``(n, 2, 3)`` and an optional field ``(n, H, W, 2)``."""
    grid = F.affine_grid(theta.to(pictures.device), list(pictures.shape), align_corners=False)
    if bend is not None:
        grid = grid + bend
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def elastic_field(
    count: int, frames: int, size: tuple[int, int], strength: float, device: torch.device
) -> Tensor:
    """Smooth deformations ``(count * frames, H, W, 2)`` in units of the half width, drifting over time."""
    ends = torch.randn(count, 2, 2, 5, 5, device=device) * strength
    along = torch.linspace(0, 1, frames, device=device).view(1, frames, 1, 1, 1)
    knots = (ends[:, :1] * (1 - along) + ends[:, 1:] * along).flatten(0, 1)
    return F.interpolate(knots, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


class Sampler:
    """Draws batches from clips and stills.

    Parameters
    ----------
    clips, stills : sequence of Clip
        What to draw from; either may be empty. Each clip counts by `clip_weights`, else equally.
    device : torch.device
        Where batches are made.
    seed : int
        Seeds every choice.
    still_share : float
        Part of a batch that comes from stills.
    guided_share : float
        Part of the clips that are given guidance.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        stills: Sequence[Clip],
        device: torch.device,
        seed: int = 0,
        still_share: float = 0.5,
        guided_share: float = 0.65,
        clip_weights: Sequence[float] | None = None,
        still_weights: Sequence[float] | None = None,
    ) -> None:
        self.device = device
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.clips = ClipPool(clips, device, flow=guided_share > 0) if clips else None
        self.stills = ClipPool(stills, device, flow=False) if stills else None
        self.still_share = 1.0 if not clips else (0.0 if not stills else still_share)
        self.guided_share = guided_share
        self.clip_odds = _odds(clip_weights, len(clips))
        self.still_odds = _odds(still_weights, len(stills))

    def batch(self, count: int, frames: int) -> Batch:
        """Draw `count` clips of `frames` frames."""
        stills = int(self.rng.binomial(count, self.still_share))
        parts = []
        if count - stills:
            parts.append(self._from_clips(count - stills, frames))
        if stills:
            parts.append(self._from_stills(stills, frames))
        pictures, masks, distance, away, known = (torch.cat(column) for column in zip(*parts, strict=True))
        x, masks, distance = self._flip_and_colour(pictures, masks, distance)
        guide = guidance.planes(distance, away)
        return Batch(x, masks, guide, known, distance)

    def _known_frames(self, count: int, frames: int) -> Tensor:
        """Which frames of each clip are given as masks: none, one end, both ends, or a random one or two."""
        known = np.zeros((count, frames), bool)
        for row in known:
            if self.rng.random() >= self.guided_share:
                continue
            kind = self.rng.random()
            if kind < 0.5:
                row[[0, -1]] = True
            elif kind < 0.8:
                row[self.rng.choice([0, -1])] = True
            else:
                row[self.rng.choice(frames, self.rng.integers(1, 3), replace=False)] = True
        return torch.from_numpy(known).to(self.device)

    def _windows(self, count: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """First frame of each window in the pool, and frame offsets ``(count, frames)`` within it."""
        assert self.clips is not None
        starts, offsets = [], []
        for clip in self.rng.choice(len(self.clips), count, p=self.clip_odds):
            length = int(self.clips.lengths[clip])
            span = int(min(length, MAX_SPAN, max(frames, round(frames * math.exp(self.rng.uniform(0, 1.6))))))
            inner = self.rng.choice(np.arange(1, max(span - 1, 1)), frames - 2, replace=span - 2 < frames - 2)
            offsets.append(
                np.concatenate(([0], np.sort(inner) if span > 1 else [0] * (frames - 2), [span - 1]))
            )
            starts.append(self.clips.starts[clip] + self.rng.integers(0, length - span + 1))
        return np.array(starts), np.array(offsets)

    def _from_clips(self, count: int, frames: int) -> tuple[Tensor, ...]:
        assert self.clips is not None
        starts, offsets = self._windows(count, frames)
        index = torch.from_numpy(starts[:, None] + offsets).to(self.device)
        known = self._known_frames(count, frames)
        pictures = self.clips.frames[index].movedim(-1, -3).float()
        masks = self.clips.masks[index].float()
        prior, away = self._propagate(masks, known, starts, offsets)
        theta = smooth_motion(self.rng, count, frames, 0.22, 0.02)
        size = (int(masks.shape[-2]), int(masks.shape[-1]))
        bend = elastic_field(count, frames, size, 0.02, self.device)
        return (*_move(pictures, masks, prior, theta, bend), away, known)

    def _from_stills(self, count: int, frames: int) -> tuple[Tensor, ...]:
        assert self.stills is not None
        pool = self.rng.choice(len(self.stills), count, p=self.still_odds)
        index = torch.from_numpy(self.stills.starts[pool] + self.rng.integers(0, self.stills.lengths[pool]))
        index = index.to(self.device)
        still = self.stills.frames[index].movedim(-1, -3).float()
        mask = self.stills.masks[index].float()
        known = self._known_frames(count, frames)
        step = float(self.rng.choice([0.03, 0.08, 0.16]))
        theta = smooth_motion(self.rng, count, frames, 0.25, step)
        size = (int(mask.shape[-2]), int(mask.shape[-1]))
        bend = elastic_field(count, frames, size, 0.03, self.device)
        pictures = warp(still.repeat_interleave(frames, 0), theta.flatten(0, 1), bend).unflatten(
            0, (count, frames)
        )
        moved = warp(mask.repeat_interleave(frames, 0)[:, None], theta.flatten(0, 1), bend)
        masks = (moved.view(count, frames, *size) > 0.5).float()
        pace = torch.from_numpy(self.rng.choice([1.0, 2.0, 4.0], count)).float()
        times = (torch.arange(frames) * pace[:, None]).to(self.device)
        prior, away = self._imperfect_copy(mask, masks, known, theta, bend, times)
        return pictures, masks, prior, away, known

    def _imperfect_copy(
        self, mask: Tensor, masks: Tensor, known: Tensor, theta: Tensor, bend: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Guess for every frame of a moved still: the nearest known frame's mask, following only part of the motion."""
        count, frames = known.shape
        gap = (times[:, :, None] - times[:, None, :]).abs()
        gap = torch.where(known[:, None, :], gap, torch.inf)
        away, nearest = gap.min(dim=2)
        nearest = torch.where(torch.isfinite(away), nearest, 0).cpu()
        anchor = theta.gather(1, nearest[..., None, None].expand(-1, -1, 2, 3))
        followed = torch.rand(count, 1, 1, 1)
        drift = (
            torch.randn(count, frames, 2, 3) * 0.03 * (away.isfinite() & (away > 0)).cpu()[..., None, None]
        )
        guess = anchor + followed * (theta - anchor) + drift
        bent = bend.view(count, frames, *bend.shape[1:])
        rows = torch.arange(count, device=bend.device)[:, None]
        moved = warp(
            mask.repeat_interleave(frames, 0)[:, None],
            guess.flatten(0, 1),
            bent[rows, nearest.to(bend.device)].flatten(0, 1),
        )
        guessed = (torch.isfinite(away) & ~known).to(masks.device)
        prior = distances_where(guessed, moved[:, 0].view_as(masks))
        return prior + distances_where(known, masks), away

    def _propagate(
        self, masks: Tensor, known: Tensor, starts: np.ndarray, offsets: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Known masks carried along the optical flow to every frame of the windows, from both sides."""
        if not known.any():
            return torch.zeros_like(masks), torch.full_like(known, torch.inf, dtype=torch.float32)
        distance = distances_where(known, masks)
        before, frames_before = self._carry(distance, known, starts, offsets, forward=True)
        after, frames_after = self._carry(distance, known, starts, offsets, forward=False)
        both = guidance.blend(before, after, frames_before[..., None, None], frames_after[..., None, None])
        nothing = ~torch.isfinite(torch.minimum(frames_before, frames_after))[..., None, None]
        return torch.where(nothing, 0.0, both), torch.minimum(frames_before, frames_after)

    def _carry(
        self, distance: Tensor, known: Tensor, starts: np.ndarray, offsets: np.ndarray, forward: bool
    ) -> tuple[Tensor, Tensor]:
        """One direction of `_propagate`: distances ``(B, T, H, W)`` and frames since the last known ``(B, T)``."""
        assert self.clips is not None and self.clips.onward is not None and self.clips.back is not None
        count, frames, height, width = distance.shape
        flows = self.clips.onward if forward else self.clips.back
        span = int(offsets.max())
        slot = np.full((count, span + 1), -1)
        for row, offset in enumerate(offsets):
            slot[row, offset] = np.arange(frames)
        slots = torch.from_numpy(slot).to(self.device)
        first = torch.from_numpy(starts).to(self.device)
        identity = guidance.identity_map(count, height, width, self.device)
        maps = identity
        anchor = torch.zeros_like(distance[:, 0])
        since = torch.full((count,), torch.inf, device=self.device)
        out = torch.zeros_like(distance)
        out_since = torch.full((count, frames), torch.inf, device=self.device)
        rows = torch.arange(count, device=self.device)
        last = len(flows) - 1
        positions = range(span + 1) if forward else range(span, -1, -1)
        for number, position in enumerate(positions):
            if number:
                flow = flows[(first + position).clamp(max=last)].float()
                maps = guidance.follow(maps, flow, identity)
                since = since + 1
            here = slots[:, position]
            present = here >= 0
            at = here.clamp(min=0)
            fresh = present & known[rows, at]
            maps = torch.where(fresh[:, None, None, None], identity, maps)
            anchor = torch.where(fresh[:, None, None], distance[rows, at], anchor)
            since = torch.where(fresh, 0.0, since)
            carried = guidance.sample(anchor[:, None], maps)[:, 0]
            out[rows, at] = torch.where(present[:, None, None], carried, out[rows, at])
            out_since[rows, at] = torch.where(present, since, out_since[rows, at])
        return out, out_since

    def _flip_and_colour(
        self, pictures: Tensor, masks: Tensor, distance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mirror, then change brightness, contrast, colour, sharpness and noise; one draw a clip."""
        count = pictures.shape[0]
        for axis, odds in ((-1, 0.5), (-2, 0.3)):
            flip = torch.rand(count, device=self.device) < odds
            pick = flip.view(-1, 1, 1, 1)
            pictures = torch.where(pick[..., None], pictures.flip(axis), pictures)
            masks = torch.where(pick, masks.flip(axis), masks)
            distance = torch.where(pick, distance.flip(axis), distance)
        x = normalise(pictures.movedim(-3, -1))

        def per_clip(low: float, high: float, channels: int = 1) -> Tensor:
            return torch.empty(count, 1, channels, 1, 1, device=self.device).uniform_(low, high)

        x = x * per_clip(0.7, 1.35) + per_clip(-0.4, 0.4) + per_clip(-0.15, 0.15, 3)
        grey = (torch.rand(count, device=self.device) < 0.25).view(-1, 1, 1, 1, 1)
        x = torch.where(grey, x.mean(2, keepdim=True), x)
        blur = (torch.rand(count, device=self.device) < 0.2).view(-1, 1, 1, 1, 1)
        soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1).view_as(x)
        x = torch.where(blur, soft, x)
        return x + per_clip(0.0, 0.12) * torch.randn_like(x), masks, distance


def _odds(weights: Sequence[float] | None, count: int) -> np.ndarray | None:
    if not weights:
        return None
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights for {count} sources.")
    return np.asarray(weights, float) / float(np.sum(weights))


def _move(
    pictures: Tensor, masks: Tensor, distance: Tensor, theta: Tensor, bend: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Warp frames, masks and distances of clips ``(B, T, ...)`` alike."""
    count, frames = masks.shape[:2]
    together = torch.cat((pictures, masks[:, :, None], distance[:, :, None]), dim=2).flatten(0, 1)
    moved = warp(together, theta.flatten(0, 1), bend).unflatten(0, (count, frames))
    return moved[:, :, :3], (moved[:, :, 3] > 0.5).float(), moved[:, :, 4]
