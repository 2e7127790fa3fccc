"""Everything of a run that changes with a step, and its files."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.network.checkpoints import save_checkpoint
from vivim.training.config import TrainConfig
from vivim.training.graphs import Recorded
from vivim.training.losses import structure_loss
from vivim.training.sampler import Batch
from vivim.training.teacher import Pupil

KNOWN_WEIGHT = 0.2
"""How much a frame whose mask was given counts in the loss."""


class State:
    """Network, optimiser, averaged weights and step; saved together, so that a run can go on."""

    def __init__(self, config: TrainConfig, run: Path, device: torch.device, initial: Vivim | None) -> None:
        torch.manual_seed(config.seed)
        self.config, self.run, self.device = config, run, device
        self.model = Vivim(config.network)
        if initial is not None:
            self.model.load_state_dict(initial.state_dict(), strict=False)
        self.model.to(device).train()
        self.pupil = Pupil(self.model, taught=config.teacher_weight > 0).to(device)
        self.average = Vivim(config.network).to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        learning = list(self.pupil.parameters())
        decayed = [p for p in learning if p.dim() > 1]
        others = [p for p in learning if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        fused = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=fused)
        self.step = 0
        self.seconds = 0.0
        resume = run / "resume.pt"
        if resume.exists():
            saved = torch.load(resume, map_location=device, weights_only=True)
            self.pupil.load_state_dict(saved["pupil"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds = saved["step"], saved["seconds"]
        self._run = self._as_usual
        if config.record and device.type == "cuda" and config.network.guided:
            self._run = Recorded(self.pupil, config.shapes(), device)
        current = dict(self.model.state_dict())
        pairs = [(v, current[k]) for k, v in self.average.state_dict().items() if v.is_floating_point()]
        self._averages, self._currents = [a for a, _ in pairs], [b for _, b in pairs]

    def _as_usual(self, x: Tensor, guide: Tensor | None) -> tuple[Tensor, ...]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.pupil(x, guide)

    def advance(self, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the detached loss and logits ``(B, T, H, W)``."""
        config = self.config
        # dropout follows from the step, also in a run that was resumed
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self._set_rate(progress)
        guide = batch.guide if config.network.guided else None
        logits, *taught = self._run(batch.x, guide)
        losses = structure_loss(logits.flatten(0, 1), batch.masks.flatten(0, 1)[:, None])
        weights = torch.where(batch.known.flatten(), KNOWN_WEIGHT, 1.0)
        loss = (losses * weights).sum() / weights.sum()
        total = loss
        for predicted in taught:
            missed = F.mse_loss(predicted.float(), batch.embedding.flatten(0, 1))
            total = total + config.teacher_weight * max(0.0, 1 - progress) * missed
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return loss.detach(), logits.detach()[:, :, 0]

    def _set_rate(self, progress: float) -> None:
        config = self.config
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        rate = config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine
        rate *= min(1.0, (self.step + 1) / config.warm_up_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self._averages, self._currents, 1 - decay)

    def save(self, provenance: dict | None) -> None:
        """Write both files, each atomically."""
        for value in self.average.parameters():
            if not torch.isfinite(value).all():
                raise VivimError(
                    "The weights are no longer numbers: lower the learning rate and start again."
                )
        states = {
            "pupil": self.pupil.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
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
