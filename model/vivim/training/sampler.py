"""Random training batches, made on the device of the network.

All pictures stay in the device's memory as bytes. A batch is gathered, moved and coloured there in a few large
operations. Threads of the CPU propagate the masks that guide it. Part of a batch are windows of real clips, the rest
are stills that a smooth random motion turns into clips. Each augmentation is drawn once for a whole clip. A batch
depends on the seed and its number alone.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.imaging.signed_distance import MAX_DISTANCE
from vivim.propagation import guidance_planes
from vivim.training.augmentation import Augment, elastic_field, panned, regrained, smooth_motion, warp
from vivim.training.batch import Batch
from vivim.training.datasets import Clip
from vivim.training.propagated_masks import PropagatedMasks
from vivim.training.training_windows import Windows, draw_windows, known_frames
from vivim.utils.system import cores


class ClipPool:
    """All clips of a dataset on the device, clip after clip: frames ``(N, H, W, 3)`` and masks ``(N, H, W)`` uint8."""

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
    """Compute `signed_distance` of masks ``(n, H, W)`` on their device, by a lower envelope over rows and columns."""

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


MISLED = 0.15
"""Part of the clips whose propagated masks are moved away, as optical flow does where a lesion jumps."""

PANNED = 0.2
"""Part of the clips that are close-ups which pan across the picture, so that a lesion leaves the view."""

MOST_PROCESSES = 15
"""Processes that propagate masks where there are many cores. Each takes 0.3 GiB."""

_THREADS = ThreadPoolExecutor(cores(), thread_name_prefix="vivim-propagate")


@dataclass(frozen=True)
class _Drawn:
    """Clips at the size asked for, before their look is changed."""

    pictures: Tensor
    masks: Tensor
    distance: Tensor
    away: Tensor
    known: Tensor
    marks: Tensor


class Sampler:
    """Draws batches from clips and stills, of which one may be empty. Each clip counts by `clip_weights`, else equally.

    `still_share` of a batch come from stills, and `guided_share` of the clips are given guidance.
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
        self.seed = seed
        self.clips = ClipPool(clips, device) if clips else None
        self.stills = ClipPool(stills, device) if stills else None
        self.propagated = PropagatedMasks(clips)
        if self.clips and guided_share and device.type == "cuda":
            self.propagated.precompute(_processes())
        self.still_share = 1.0 if not clips else (0.0 if not stills else still_share)
        self.guided_share = guided_share
        self.clip_odds = _odds(clip_weights, len(clips))
        self.still_odds = _odds(still_weights, len(stills))

    def close(self) -> None:
        """End the processes that propagate masks."""
        self.propagated.close()

    @torch.no_grad()
    def batch(
        self,
        number: int,
        count: int,
        frames: int,
        size: tuple[int, int] | None = None,
        part: int | None = None,
    ) -> Batch:
        """Draw batch `number`, or a `part` of it: `count` clips of `frames` frames of `size`, as stored by default."""
        rng = np.random.default_rng((self.seed, number) if part is None else (self.seed, number, part))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        pool = self.clips or self.stills
        assert pool is not None
        size = size or (int(pool.masks.shape[1]), int(pool.masks.shape[2]))
        stills = int(rng.binomial(count, self.still_share))
        parts = []
        if count - stills:
            parts.append(self._from_clips(rng, generator, count - stills, frames, size))
        if stills:
            parts.append(self._from_stills(rng, generator, stills, frames, size))
        drawn = _Drawn(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(_Drawn)))
        augment = Augment(generator, count)
        pictures, masks, distance = augment.flips(drawn.pictures, drawn.masks, drawn.distance)
        guide = guidance_planes.planes(distance, drawn.away)
        return Batch(augment.look(pictures), masks, guide, drawn.known, distance, drawn.marks)

    def share(
        self, number: int, count: int, frames: int, size: tuple[int, int], parts: int, first: int, mine: int
    ) -> Batch:
        """Draw the clips `first` to ``first + mine`` of batch `number`, and only the `parts` that hold them."""
        if parts == 1:
            return self.batch(number, count, frames, size).clips(first, first + mine)
        found = []
        for part in range(min(parts, count)):
            low, high = (count * p // min(parts, count) for p in (part, part + 1))
            if low < first + mine and high > first:
                drawn = self.batch(number, high - low, frames, size, part)
                found.append(drawn.clips(max(first - low, 0), first + mine - low))
        tensors = zip(*(batch.tensors() for batch in found), strict=True)
        return Batch(*(torch.cat(some) for some in tensors))

    def _from_clips(
        self,
        rng: np.random.Generator,
        generator: torch.Generator,
        count: int,
        frames: int,
        size: tuple[int, int],
    ) -> _Drawn:
        assert self.clips is not None
        chosen = rng.choice(len(self.clips), count, p=self.clip_odds)
        windows = draw_windows(rng, self.clips.lengths[chosen], frames, self.guided_share)
        first = self.clips.starts[chosen] + windows.starts
        index = torch.from_numpy(first[:, None] + windows.offsets).to(self.device)
        known = torch.from_numpy(windows.known).to(self.device)
        pictures = self.clips.frames[index].movedim(-1, -3).float()
        masks = self.clips.masks[index].float()
        prior, away = self._propagated(chosen, windows)
        prior = _mislead(rng, prior, known)
        theta = panned(rng, smooth_motion(rng, count, frames, 0.22, 0.02, zoom=0.15), PANNED).to(self.device)
        bend = elastic_field(generator, count, frames, size, 0.02)
        together = torch.cat((pictures, masks[:, :, None], prior[:, :, None]), dim=2).flatten(0, 1)
        moved = warp(together, theta.flatten(0, 1), bend, size).unflatten(0, (count, frames))
        scale = size[0] / masks.shape[-2] / torch.linalg.det(theta[..., :2]).abs().sqrt()
        drawn = (moved[:, :, :3], (moved[:, :, 3] > 0.5).float(), moved[:, :, 4] * scale[..., None, None])
        marks = self.clips.marks[torch.from_numpy(chosen).to(self.device)]
        if rng.random() < 0.5:  # time runs backwards
            moved, masks, distance, away, known = (v.flip(1) for v in (*drawn, away, known))
            return _Drawn(moved, masks, distance, away, known, marks)
        return _Drawn(*drawn, away, known, marks)

    def _from_stills(
        self,
        rng: np.random.Generator,
        generator: torch.Generator,
        count: int,
        frames: int,
        size: tuple[int, int],
    ) -> _Drawn:
        assert self.stills is not None
        pool = rng.choice(len(self.stills), count, p=self.still_odds)
        index = torch.from_numpy(self.stills.starts[pool] + rng.integers(0, self.stills.lengths[pool]))
        index = index.to(self.device)
        still = self.stills.frames[index].movedim(-1, -3).float()
        mask = self.stills.masks[index].float()
        given = np.stack([known_frames(rng, frames, self.guided_share) for _ in range(count)])
        known = torch.from_numpy(given).to(self.device)
        step = float(rng.choice([0.03, 0.08, 0.16]))
        theta = panned(rng, smooth_motion(rng, count, frames, 0.25, step, zoom=0.2), PANNED).to(self.device)
        bend = elastic_field(generator, count, frames, size, 0.03)
        together = torch.cat((still, mask[:, None]), dim=1).repeat_interleave(frames, 0)
        moved = warp(together, theta.flatten(0, 1), bend, size).unflatten(0, (count, frames))
        masks = (moved[:, :, 3] > 0.5).float()
        pace = torch.from_numpy(rng.choice([1.0, 2.0, 4.0], count)).float().to(self.device)
        times = torch.arange(frames, device=self.device) * pace[:, None]
        prior, away = self._imperfect_copy(generator, mask, masks, known, theta, bend, times)
        marks = self.stills.marks[torch.from_numpy(pool).to(self.device)]
        return _Drawn(regrained(rng, moved[:, :, :3]), masks, prior, away, known, marks)

    def _imperfect_copy(
        self, generator: torch.Generator, mask: Tensor, masks: Tensor, known: Tensor, theta: Tensor,
        bend: Tensor, times: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Prior of every frame of a moved still: the nearest known frame's mask, following part of the motion."""
        count, frames = known.shape
        gap = (times[:, :, None] - times[:, None, :]).abs()
        gap = torch.where(known[:, None, :], gap, torch.inf)
        away, nearest = gap.min(dim=2)
        nearest = torch.where(torch.isfinite(away), nearest, 0)
        anchor = theta.gather(1, nearest[..., None, None].expand(-1, -1, 2, 3))
        followed = torch.rand(count, 1, 1, 1, device=self.device, generator=generator)
        drift = torch.randn(count, frames, 2, 3, device=self.device, generator=generator) * 0.03
        guess = anchor + followed * (theta - anchor) + drift * (away.isfinite() & (away > 0))[..., None, None]
        bent = bend.view(count, frames, *bend.shape[1:])
        rows = torch.arange(count, device=self.device)[:, None]
        size = (int(masks.shape[-2]), int(masks.shape[-1]))
        moved = warp(
            mask[:, None].repeat_interleave(frames, 0),
            guess.flatten(0, 1),
            bent[rows, nearest].flatten(0, 1),
            size,
        )
        guessed = torch.isfinite(away) & ~known
        prior = distances_where(guessed, moved[:, 0].view_as(masks))
        return prior + distances_where(known, masks), away

    def _propagated(self, chosen: np.ndarray, windows: Windows) -> tuple[Tensor, Tensor]:
        """Known masks propagated to all frames of windows in the `chosen` clips, and frames to the nearest one."""
        assert self.clips is not None
        if not windows.known.any():
            size = self.clips.masks.shape[1:]
            nothing = torch.zeros(*windows.known.shape, *size, device=self.device)
            return nothing, torch.full(windows.known.shape, torch.inf, device=self.device)
        frames = windows.starts[:, None] + windows.offsets
        found = list(_THREADS.map(self.propagated.window, chosen.tolist(), frames, windows.known))
        distance, away = (
            torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*found, strict=True)
        )
        return distance, away


def _mislead(rng: np.random.Generator, prior: Tensor, known: Tensor) -> Tensor:
    """Move the propagated masks ``(B, T, H, W)`` of a few clips elsewhere, but not the known masks."""
    count, frames = known.shape
    misled = rng.random(count) < MISLED
    if not misled.any():
        return prior
    rows = torch.from_numpy(np.flatnonzero(misled)).to(prior.device)
    theta = smooth_motion(rng, len(rows), frames, 0.3, 0.1).to(prior.device)
    moved = warp(prior[rows].flatten(0, 1)[:, None], theta.flatten(0, 1)).view(len(rows), *prior.shape[1:])
    out = prior.clone()
    out[rows] = torch.where(known[rows][..., None, None], prior[rows], moved)
    return out


def _processes() -> int:
    """Number of processes that propagate masks for each training process, which keeps a core to itself."""
    training = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(MOST_PROCESSES, cores() // training - 1))


def _odds(weights: Sequence[float] | None, count: int) -> np.ndarray | None:
    if not weights:
        return None
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights for {count} sources.")
    return np.asarray(weights, float) / float(np.sum(weights))
