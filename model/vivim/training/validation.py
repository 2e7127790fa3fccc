"""Progress reports of a training run: losses, and Dice of training batches and of validation clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.network.preprocessing import normalise
from vivim.training.batch import Batch
from vivim.training.datasets import Clip
from vivim.training.distributed import over_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainEvent:
    """Step, mean loss and Dice since the last event, and validation Dice by clip when measured."""

    step: int
    loss: float
    dice_alone: float
    dice_guided: float
    dice_prior: float
    seconds: float
    validation: dict[str, float] | None = None
    validation_dice: float | None = None
    """Mean Dice over the clips that the best weights are chosen by."""


class RunningMeans:
    """Losses and Dice since the last event, kept on the device so that nothing waits for it."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.dice: list[tuple[Tensor, ...]] = []

    def add(self, batch: Batch, loss: Tensor, logits: Tensor) -> None:
        """Add the loss and the logits ``(B, T, H, W)`` of one step."""
        self.losses.append(loss)
        asked = ~batch.known & batch.lesion_known
        guided = batch.guided.expand_as(asked)
        mine, prior = (_dice_of_masks(v > 0, batch.lesions > 0.5) for v in (logits, batch.prior))
        picks = ((mine, asked & ~guided), (mine, asked & guided), (prior, asked & guided))
        self.dice.append(tuple(torch.stack((v[pick].sum(), pick.sum())) for v, pick in picks))

    def event(
        self,
        step: int,
        seconds: float,
        validation: dict[str, float] | None,
        validation_dice: float | None,
        fabric: Fabric,
    ) -> TrainEvent:
        """Return what all processes measured, or raise `VivimError` where the loss is not a number."""
        if not self.losses:
            return TrainEvent(
                step, math.nan, math.nan, math.nan, math.nan, seconds, validation, validation_dice
            )
        loss = float(over_processes(fabric, torch.stack(self.losses).mean(), "mean"))
        if not math.isfinite(loss):
            raise VivimError(f"The loss is not a number at step {step}: lower the learning rate.")
        counted = torch.stack([torch.stack(column).sum(0) for column in zip(*self.dice, strict=True)])
        sums = over_processes(fabric, counted, "sum").tolist()
        dice = [total / count if count else math.nan for total, count in sums]
        return TrainEvent(step, loss, dice[0], dice[1], dice[2], seconds, validation, validation_dice)


def _dice_of_masks(predicted: Tensor, true: Tensor) -> Tensor:
    """Dice of boolean masks ``(..., H, W)`` over the last two axes, 1 for two empty masks."""
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
        scores.append(_dice_of_masks(logits > 0, true).cpu().numpy())
    return float(np.concatenate(scores).mean())


def dice_by_clip(model: Vivim, clips: Sequence[Clip], fabric: Fabric) -> dict[str, float]:
    """`clip_dice` of every clip by its name, shared among the processes."""
    if not clips:
        return {}
    found = torch.zeros(len(clips), device=fabric.device)
    for number in range(fabric.global_rank, len(clips), fabric.world_size):
        found[number] = clip_dice(model, clips[number], fabric.device)
    values = over_processes(fabric, found, "sum").tolist()
    return {clip.name: value for clip, value in zip(clips, values, strict=True)}
