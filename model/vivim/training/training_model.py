"""A network in training: all that it predicts at once, its loss, and its step recorded on a GPU."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network import Vivim
from vivim.training.batch import Batch, Marks
from vivim.training.boundary_loss import BoundaryHead, boundary_losses, load_regressor
from vivim.training.config import TrainConfig
from vivim.training.distributed import Share
from vivim.training.losses import structure_loss


class Outputs(NamedTuple):
    """What a network predicts in training. What it does not have is None."""

    logits: Tensor
    """``(B, T, C, H, W)``"""
    edges: Tensor | None = None
    """``(B, T, 1, H/4, W/4)``"""
    organ: Tensor | None = None
    """``(B, T, 1, H, W)``"""
    presence: Tensor | None = None
    """``(B, T)``"""


class TrainingModel(nn.Module):
    """A network in training, with a boundary head where the recipe has the boundary constraint.

    That is the network's own edge head, or else a `BoundaryHead` on the first stage's feature, which is not kept.
    """

    def __init__(self, model: Vivim, predicts_edges: bool = False) -> None:
        super().__init__()
        self.model = model
        self.boundary: BoundaryHead | None = None
        if predicts_edges and model.edge_head is None:
            self.boundary = BoundaryHead(model.config.preset.widths[0])
        self.predicts_edges = predicts_edges

    def forward(self, x: Tensor, guide: Tensor | None) -> Outputs:
        """Predict for clips ``(B, T, 3, H, W)`` with guide planes ``(B, T, 2, H, W)``."""
        model, shape = self.model, x.shape[:2]
        features = model.features(x, guide)
        height, width = x.shape[-2:]
        decoded = model.decode(features, (height, width), model.config.organ).unflatten(0, shape)
        edges = None
        if self.predicts_edges:
            head = self.boundary or model.edge_head
            assert head is not None
            edges = head(features[0]).unflatten(0, shape)
        classes = model.config.num_classes
        organ = decoded[:, :, classes:] if model.config.organ else None
        presence = None if model.presence is None else model.presence(features).unflatten(0, shape)
        return Outputs(decoded[:, :, :classes], edges, organ, presence)


KNOWN_WEIGHT = 0.2
"""Weight in the loss of a frame whose mask was given."""

PRESENCE_WEIGHT = 0.3
"""Weight of the cross-entropy of presence."""

SLIVER = 0.001
"""Part of the picture up to which a lesion at its edge says nothing about presence."""


class Objective:
    """The loss of a batch. Every mean is over the clips of all processes.

    A process gives its sum, divided by their count and multiplied by their number: gradients are averaged over them.
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


Shape = tuple[int, int, int, int]
"""Clips, frames, height and width of a batch."""


class _OneShape(nn.Module):
    """A module of the same parameters for each shape, because recording replaces its `forward`."""

    def __init__(self, trainable: TrainingModel) -> None:
        super().__init__()
        self.trainable = trainable

    def forward(self, x: Tensor, guide: Tensor) -> tuple[Tensor, ...]:
        return tuple(v for v in self.trainable(x, guide) if v is not None)


class RecordedStep:
    """Recordings of ``trainable(x, guide)`` in bfloat16, one for each shape of batch. Other shapes run as usual.

    Make it before any other thread uses the GPU.
    """

    def __init__(self, trainable: TrainingModel, shapes: Iterable[Shape], device: torch.device) -> None:
        self._trainable = trainable
        self._recordings: dict[Shape, Callable[..., Any]] = {}
        config = trainable.model.config
        self._has = (True, trainable.predicts_edges, config.organ, config.presence)
        kept = copy.deepcopy({k: v for k, v in trainable.named_buffers()})
        for shape in shapes:
            clips, frames, height, width = shape
            x = torch.randn(clips, frames, 3, height, width, device=device)
            guide = torch.zeros(clips, frames, 2, height, width, device=device)
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                self._recordings[shape] = torch.cuda.make_graphed_callables(
                    _OneShape(trainable), (x, guide), allow_unused_input=True
                )
            torch.cuda.empty_cache()
        for name, buffer in trainable.named_buffers():  # recording ran the network on noise
            buffer.copy_(kept[name])
        trainable.zero_grad(set_to_none=True)

    def __call__(self, x: Tensor, guide: Tensor | None) -> Outputs:
        """Return what ``trainable(x, guide)`` returns."""
        module = (
            self._recordings.get((x.shape[0], x.shape[1], x.shape[3], x.shape[4]))
            if guide is not None
            else None
        )
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            if module is None:
                return self._trainable(x, guide)
            found = iter(module(x, guide))
        logits, *others = (next(found) if has else None for has in self._has)
        assert logits is not None
        return Outputs(logits, *others)
