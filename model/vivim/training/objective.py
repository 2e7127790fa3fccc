"""The loss of a run: of lesions, and in some recipes of boundaries, organs, and presence."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.training.affine_regressor import load_regressor
from vivim.training.batch import Batch, Marks
from vivim.training.boundary_loss import boundary_losses
from vivim.training.config import TrainConfig
from vivim.training.distributed import Share
from vivim.training.losses import structure_loss
from vivim.training.training_model import Outputs

KNOWN_WEIGHT = 0.2
"""Weight in the loss of a frame whose mask was given."""

PRESENCE_WEIGHT = 0.3
"""Weight of the cross-entropy of presence."""

SLIVER = 0.001
"""Part of the picture up to which a lesion at its edge says nothing about presence."""


class Objective:
    """The loss of a batch.

    Every mean is over the clips of all processes. A process gives its sum, divided by the count of all processes and
    multiplied by their number, since gradients are averaged over processes.
    """

    def __init__(self, config: TrainConfig, share: Share, device: torch.device) -> None:
        self._config, self._share = config, share
        self._regressor = load_regressor(device) if config.boundary_weight else None

    def __call__(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the total to differentiate, and the structure loss of lesions alone for reports."""
        config = self._config
        weights = torch.where(batch.known, KNOWN_WEIGHT, 1.0)
        lesions = batch.lesions
        loss = self._of_masks(outputs.logits, lesions, weights * batch.lesion_known)
        total = loss
        if outputs.organ is not None:
            organs = (batch.marks != Marks.LESION)[:, None]
            total = total + self._of_masks(outputs.organ, batch.masks, weights * organs)
        if outputs.presence is not None:
            area = lesions.mean((-1, -2))
            counted = weights * batch.lesion_known * ((area == 0) | (area > SLIVER))
            wrong = F.binary_cross_entropy_with_logits(outputs.presence, (area > 0).float(), reduction="none")
            total = total + PRESENCE_WEIGHT * self._mean((wrong * counted).sum(), counted.sum())
        if self._regressor is not None:
            assert outputs.edges is not None
            affine, patches, crossed = boundary_losses(outputs.edges[:, :, 0], lesions, self._regressor)
            clips = crossed.new_tensor(float(len(crossed)))
            constraint = self._mean(affine, patches.float()) + self._mean(crossed.sum(), clips)
            total = total + config.boundary_weight * constraint
        return total, loss.detach()

    def _of_masks(self, logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
        """Structure loss of logits ``(B, T, C, H, W)``, its mean over frames by `weights` ``(B, T)``."""
        losses = structure_loss(logits.flatten(0, 1), masks.flatten(0, 1)[:, None])
        return self._mean((losses * weights.flatten()).sum(), weights.sum())

    def _mean(self, part: Tensor, count: Tensor) -> Tensor:
        """This process's share of a mean over all processes, from its `part` of the sum and of the count."""
        if self._share.processes == 1:
            return part / count.clamp(min=1e-6)
        count = count.clone()
        torch.distributed.all_reduce(count)
        return part * self._share.processes / count.clamp(min=1e-6)
