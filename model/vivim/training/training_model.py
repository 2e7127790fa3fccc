"""A network in training: all that it predicts at once."""

from typing import NamedTuple

from torch import Tensor, nn

from vivim.network import Vivim
from vivim.training.boundary_loss import BoundaryHead


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

    Boundaries are predicted by the network's own edge head, or else by a `BoundaryHead` on the first stage's feature,
    which is not kept after training.
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
