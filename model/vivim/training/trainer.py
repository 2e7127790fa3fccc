"""Train a Vivim from clips and stills: one loop, resumable to the step, with an average of the weights kept.

Yields progress; closing the generator stops after a checkpoint was last written.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vivim.errors import VivimError
from vivim.network import Vivim, VivimConfig
from vivim.network.checkpoints import save_checkpoint
from vivim.preprocess import normalise
from vivim.training.data import Clip
from vivim.training.losses import structure_loss
from vivim.training.sampler import Batch, Sampler

KNOWN_WEIGHT = 0.2
"""How much a frame whose mask was given counts in the loss."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train; the defaults suit b0 on one GPU."""

    network: VivimConfig = field(default_factory=lambda: VivimConfig(size="b0", guided=True, drop_path=0.05))
    steps: int = 6000
    frames_per_batch: int = 96
    clip_lengths: tuple[int, ...] = (4, 6, 8)
    learning_rate: float = 6e-4
    final_learning_rate: float = 6e-6
    warm_up_steps: int = 200
    weight_decay: float = 0.02
    gradient_clip: float = 1.0
    average_decay: float = 0.999
    still_share: float = 0.5
    guided_share: float = 0.65
    seconds: float = math.inf
    """Stop (after a checkpoint) when this much time has passed; the learning rate then follows the clock."""
    validate_every: int = 500
    seed: int = 0


@dataclass(frozen=True)
class TrainEvent:
    """Progress: step, mean losses and Dice since the last event, and validation Dice by clip when measured."""

    step: int
    loss: float
    dice_alone: float
    dice_guided: float
    dice_prior: float
    seconds: float
    validation: dict[str, float] | None = None


def train(
    clips: Sequence[Clip],
    stills: Sequence[Clip],
    run: Path,
    config: TrainConfig | None = None,
    *,
    validation: Sequence[Clip] = (),
    clip_weights: Sequence[float] | None = None,
    still_weights: Sequence[float] | None = None,
    initial: Vivim | None = None,
    device: torch.device | None = None,
    provenance: dict | None = None,
) -> Iterator[TrainEvent]:
    """Train and write ``run/model.safetensors`` (averaged weights) and ``run/resume.pt``.

    Parameters
    ----------
    clips, stills : sequence of Clip
        Training material, already at the network's input size.
    run : Path
        Folder of the run; a run found there is resumed.
    config : TrainConfig
        The recipe.
    validation : sequence of Clip
        Clips never trained on; Dice on them is reported and changes nothing.
    initial : Vivim, optional
        Weights to start from.

    Raises
    ------
    VivimError
        If there is nothing to train on or the loss is no longer a number.
    """
    config = config or TrainConfig()
    device = device or torch.device("cpu")
    if not clips and not stills:
        raise VivimError("Nothing to train on: give at least one dataset of clips or stills.")
    run.mkdir(parents=True, exist_ok=True)
    state = _State(config, run, device, initial)
    sampler = Sampler(
        clips, stills, device, config.seed + state.step, config.still_share, config.guided_share,
        clip_weights, still_weights,
    )  # fmt: skip
    started = time.monotonic()
    seen = _Seen()
    while state.step < config.steps:
        elapsed = time.monotonic() - started
        if elapsed > config.seconds:
            break
        progress = max(state.step / config.steps, elapsed / config.seconds)
        length = config.clip_lengths[state.step % len(config.clip_lengths)]
        batch = sampler.batch(max(1, config.frames_per_batch // length), length)
        seen.add(batch, *state.advance(batch, progress))
        if state.step % 100 == 0 or state.step == config.steps:
            scores = None
            if validation and state.step % config.validate_every == 0:
                scores = {clip.name: clip_dice(state.average, clip, device) for clip in validation}
            yield seen.event(state.step, time.monotonic() - started, scores)
            seen = _Seen()
        if state.step % 500 == 0:
            state.save(provenance)
    state.save(provenance)
    scores = {clip.name: clip_dice(state.average, clip, device) for clip in validation} or None
    yield seen.event(state.step, time.monotonic() - started, scores)


class _State:
    """Network, optimiser, averaged weights and step; saved together, so that a run can go on."""

    def __init__(self, config: TrainConfig, run: Path, device: torch.device, initial: Vivim | None) -> None:
        torch.manual_seed(config.seed)
        self.config, self.run, self.device = config, run, device
        self.model = Vivim(config.network)
        if initial is not None:
            self.model.load_state_dict(initial.state_dict(), strict=False)
        self.model.to(device).train()
        self.average = Vivim(config.network).to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
        self.step = 0
        resume = run / "resume.pt"
        if resume.exists():
            saved = torch.load(resume, map_location=device, weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step = saved["step"]

    def advance(self, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the detached loss and logits ``(B, T, H, W)``."""
        config = self.config
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        rate = config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine
        rate *= min(1.0, (self.step + 1) / config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        guide = batch.guide if config.network.guided else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(batch.x, guide)
        losses = structure_loss(logits.flatten(0, 1), batch.masks.flatten(0, 1)[:, None])
        weights = torch.where(batch.known.flatten(), KNOWN_WEIGHT, 1.0)
        loss = (losses * weights).sum() / weights.sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return loss.detach(), logits.detach()[:, :, 0]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        average, current = self.average.state_dict(), self.model.state_dict()
        floats = [k for k, v in current.items() if v.is_floating_point()]
        torch._foreach_lerp_([average[k] for k in floats], [current[k] for k in floats], 1 - decay)

    def save(self, provenance: dict | None) -> None:
        """Write both files, each atomically."""
        for value in self.average.parameters():
            if not torch.isfinite(value).all():
                raise VivimError(
                    "The weights are no longer numbers: lower the learning rate and start again."
                )
        states = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        part = self.run / "resume.pt.part"
        torch.save(states, part)
        os.replace(part, self.run / "resume.pt")
        final = Vivim(replace(self.config.network, drop_path=0.0))
        final.load_state_dict({k: v.cpu() for k, v in self.average.state_dict().items()})
        save_checkpoint(
            final,
            self.run / "model.safetensors",
            {**(provenance or {}), "steps": self.step},
            dtype=torch.float16,
        )


class _Seen:
    """Running sums between two events, kept on the device so that nothing waits for it."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.dice: list[tuple[Tensor, ...]] = []

    def add(self, batch: Batch, loss: Tensor, logits: Tensor) -> None:
        self.losses.append(loss)
        asked = ~batch.known
        guided = batch.known.any(dim=1, keepdim=True).expand_as(asked)
        mine, prior = (_soft_counted_dice(v > 0, batch.masks > 0.5) for v in (logits, batch.prior))
        picks = ((mine, asked & ~guided), (mine, asked & guided), (prior, asked & guided))
        self.dice.append(tuple(torch.stack((v[pick].sum(), pick.sum())) for v, pick in picks))

    def event(self, step: int, seconds: float, validation: dict[str, float] | None) -> TrainEvent:
        if not self.losses:
            return TrainEvent(step, math.nan, math.nan, math.nan, math.nan, seconds, validation)
        loss = float(torch.stack(self.losses).mean())
        if not math.isfinite(loss):
            raise VivimError(f"The loss is not a number at step {step}: lower the learning rate.")
        sums = [torch.stack(column).sum(0).tolist() for column in zip(*self.dice, strict=True)]
        dice = [total / count if count else math.nan for total, count in sums]
        return TrainEvent(step, loss, dice[0], dice[1], dice[2], seconds, validation)


def _soft_counted_dice(predicted: Tensor, true: Tensor) -> Tensor:
    """Dice of boolean masks ``(..., H, W)`` over the last two axes; two empty masks give 1."""
    both = (predicted & true).sum((-1, -2)).float()
    total = (predicted.sum((-1, -2)) + true.sum((-1, -2))).float()
    return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)


@torch.no_grad()
def clip_dice(model: Vivim, clip: Clip, device: torch.device, window: int = 8) -> float:
    """Mean Dice over the frames of a clip, proposed without guidance, `window` frames at a time."""
    scores = []
    for start in range(0, len(clip.frames), window):
        x = normalise(torch.from_numpy(clip.frames[start : start + window]).to(device))[None]
        logits = model(x)[0, :, 0]
        true = torch.from_numpy(clip.masks[start : start + window]).to(device) > 0
        scores.append(_soft_counted_dice(logits > 0, true).cpu().numpy())
    return float(np.concatenate(scores).mean())
