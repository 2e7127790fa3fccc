"""State of a training run: what changes with a step, and its files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.network.checkpoints import save_checkpoint
from vivim.training.batch import Batch
from vivim.training.config import TrainConfig
from vivim.training.distributed import Share, share_layers
from vivim.training.training_model import Objective, RecordedStep, TrainingModel
from vivim.utils.atomic_files import atomic_write

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class State:
    """Network, optimiser, averaged weights and step, saved together so that a run can be resumed."""

    def __init__(self, config: TrainConfig, run: Path, fabric: Fabric, initial: Vivim | None) -> None:
        torch.manual_seed(config.seed)
        device = fabric.device
        self.config, self.run, self.fabric = config, run, fabric
        self.share = Share(fabric.global_rank, fabric.world_size)
        self.model = Vivim(config.network)
        if initial is not None:
            _start_from(self.model, initial)
        share_layers(self.model, self.share, device)
        self.trainable = TrainingModel(self.model, config.boundary_weight > 0).train().to(device)
        self.average = Vivim(config.network).to(device).eval()
        self.average.load_state_dict(self.model.state_dict())
        learning = list(self.trainable.parameters())
        decayed = [p for p in learning if p.dim() > 1]
        others = [p for p in learning if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        fused = device.type == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)
        self.step = 0
        self.seconds = 0.0
        self.best, self.stale = -1.0, 0
        self._resume()
        self._objective = Objective(config, self.share, device)
        self._run, self._stepper = fabric.setup(self.trainable, self.optimiser)
        if config.record and device.type == "cuda" and config.network.guided and fabric.world_size == 1:
            self._run = RecordedStep(self.trainable, config.shapes(), device)
        current = dict(self.model.state_dict())
        pairs = [(v, current[k]) for k, v in self.average.state_dict().items() if v.is_floating_point()]
        self._averages, self._currents = [a for a, _ in pairs], [b for _, b in pairs]

    def _resume(self) -> None:
        """Load ``resume.pt`` where there is one."""
        resume = self.run / "resume.pt"
        if not resume.exists():
            return
        saved = torch.load(resume, map_location=self.fabric.device, weights_only=True)
        try:
            # runs of earlier versions have it under another name
            self.trainable.load_state_dict(saved["trainable" if "trainable" in saved else "pupil"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise VivimError(
                f"The run in {self.run} is of another network or recipe: choose another folder, or the same options."
            ) from error
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.best, self.stale = saved.get("best", -1.0), saved.get("stale", 0)

    def advance(self, batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """Take one step with this process's share of a batch. Returns the loss and logits ``(B, T, H, W)``."""
        config = self.config
        # dropout follows from the step, also in a run that was resumed
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        self._set_rate(progress)
        guide = batch.guide if config.network.guided else None
        outputs = self._run(batch.x, guide)
        total, loss = self._objective(outputs, batch)
        self._stepper.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip)
        self._stepper.step()
        self.step += 1
        self._update_average()
        return loss, outputs.logits.detach()[:, :, 0]

    def _set_rate(self, progress: float) -> None:
        config = self.config
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        rate = config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine
        rate *= min(1.0, (self.step + 1) / max(1, config.warm_up_steps))
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self._averages, self._currents, 1 - decay)

    def save(self, provenance: dict | None) -> None:
        """Write both files atomically, in one process while the others wait."""
        for value in self.average.parameters():
            if not torch.isfinite(value).all():
                raise VivimError(
                    "The weights are no longer numbers: lower the learning rate and start again."
                )
        if self.fabric.is_global_zero:
            self._write_resume()
            self.write_model("model", provenance)
        self.fabric.barrier()

    def judged(self, score: float, provenance: dict | None) -> None:
        """Count a validation and keep the best weights so far in ``best.safetensors``."""
        self.stale += 1
        if score > self.best:
            self.best, self.stale = score, 0
            if self.fabric.is_global_zero:
                self.write_model("best", {**(provenance or {}), "dice_on_validation_clips": round(score, 4)})

    def _write_resume(self) -> None:
        states = {
            "trainable": self.trainable.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "stale": self.stale,
        }
        with atomic_write(self.run / "resume.pt") as part, part.open("wb") as file:
            torch.save(states, file)

    def write_model(self, name: str, provenance: dict | None) -> None:
        """Write the averaged weights as a model file of the run."""
        final = Vivim(replace(self.config.network, drop_path=0.0))
        final.load_state_dict({k: v.cpu() for k, v in self.average.state_dict().items()})
        save_checkpoint(
            final,
            self.run / f"{name}.safetensors",
            {**(provenance or {}), "steps": self.step},
            dtype=torch.float16,
        )


def _start_from(model: Vivim, initial: Vivim) -> None:
    """Copy the weights that both networks have. Guidance and scans may differ, the size may not."""
    try:
        model.load_state_dict(initial.state_dict(), strict=False)
    except RuntimeError as error:
        raise VivimError(
            f"The weights to start from are of size {initial.config.size}, the recipe's network is "
            f"{model.config.size}: choose the same with --size."
        ) from error
