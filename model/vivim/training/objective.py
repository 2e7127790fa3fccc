"""The loss of a run: the structure loss, and in some recipes the boundary constraint."""

import torch
from torch import Tensor

from vivim.training.affine_regressor import load_regressor
from vivim.training.batch import Batch
from vivim.training.boundary_loss import boundary_losses
from vivim.training.config import TrainConfig
from vivim.training.distributed import Share
from vivim.training.losses import structure_loss

KNOWN_WEIGHT = 0.2
"""Weight in the loss of a frame whose mask was given."""


class Objective:
    """The loss of a batch.

    Every mean is over the clips of all processes. A process gives its sum, divided by the count of all processes and
    multiplied by their number, since gradients are averaged over processes.
    """

    def __init__(self, config: TrainConfig, share: Share, device: torch.device) -> None:
        self._config, self._share = config, share
        self._regressor = load_regressor(device) if config.boundary_weight else None

    def __call__(self, outputs: tuple[Tensor, ...], batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the total to differentiate, and the structure loss alone for reports.

        Parameters
        ----------
        outputs : tuple of Tensor
            Of `vivim.training.training_model.TrainingModel`.
        """
        config = self._config
        losses = structure_loss(outputs[0].flatten(0, 1), batch.masks.flatten(0, 1)[:, None])
        weights = torch.where(batch.known.flatten(), KNOWN_WEIGHT, 1.0)
        loss = self._mean((losses * weights).sum(), weights.sum())
        total = loss
        if self._regressor is not None:
            affine, patches, crossed = boundary_losses(outputs[1][:, :, 0], batch.masks, self._regressor)
            clips = crossed.new_tensor(float(len(crossed)))
            constraint = self._mean(affine, patches.float()) + self._mean(crossed.sum(), clips)
            total = total + config.boundary_weight * constraint
        return total, loss.detach()

    def _mean(self, part: Tensor, count: Tensor) -> Tensor:
        """This process's share of a mean over all processes, from its `part` of the sum and of the count."""
        if self._share.processes == 1:
            return part / count.clamp(min=1e-6)
        count = count.clone()
        torch.distributed.all_reduce(count)
        return part * self._share.processes / count.clamp(min=1e-6)
