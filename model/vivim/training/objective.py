"""What a run minimises: the structure loss, and where asked the boundary constraint and the teacher's embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.training.affine_regressor import load_regressor
from vivim.training.boundary_loss import boundary_losses
from vivim.training.config import TrainConfig
from vivim.training.distributed import Share
from vivim.training.losses import structure_loss
from vivim.training.sampler import Batch

KNOWN_WEIGHT = 0.2
"""How much a frame whose mask was given counts in the loss."""


class Objective:
    """The loss of a batch.

    Every mean is over the clips of all processes: a process gives its sum, divided by what all of them have and
    multiplied by their number, since gradients are averaged over processes.
    """

    def __init__(self, config: TrainConfig, share: Share, device: torch.device) -> None:
        self._config, self._share = config, share
        self._regressor = load_regressor(device) if config.boundary_weight else None

    def __call__(self, outputs: tuple[Tensor, ...], batch: Batch, progress: float) -> tuple[Tensor, Tensor]:
        """The total to differentiate, and the structure loss alone, for reports.

        Parameters
        ----------
        outputs : tuple of Tensor
            Of `vivim.training.distillation.Trainable`.
        progress : float
            How far the run is, in [0, 1]; the teacher counts less and less.
        """
        config = self._config
        logits, *others = outputs
        losses = structure_loss(logits.flatten(0, 1), batch.masks.flatten(0, 1)[:, None])
        weights = torch.where(batch.known.flatten(), KNOWN_WEIGHT, 1.0)
        loss = self._mean((losses * weights).sum(), weights.sum())
        total = loss
        if config.teacher_weight:
            missed = F.mse_loss(others.pop(0).float(), batch.embedding.flatten(0, 1))
            clips = missed.new_tensor(float(len(batch.masks)))
            total = total + config.teacher_weight * max(0.0, 1 - progress) * self._mean(missed * clips, clips)
        if self._regressor is not None:
            affine, patches, crossed = boundary_losses(others.pop(0)[:, :, 0], batch.masks, self._regressor)
            clips = crossed.new_tensor(float(len(crossed)))
            constraint = self._mean(affine, patches.float()) + self._mean(crossed.sum(), clips)
            total = total + config.boundary_weight * constraint
        return total, loss.detach()

    def _mean(self, part: Tensor, count: Tensor) -> Tensor:
        """`part` of a sum over all processes, as this process's share of the mean."""
        if self._share.processes == 1:
            return part / count.clamp(min=1e-6)
        count = count.clone()
        torch.distributed.all_reduce(count)
        return part * self._share.processes / count.clamp(min=1e-6)
