"""A network in training, which may also predict boundaries."""

from torch import Tensor, nn

from vivim.network import Vivim
from vivim.training.boundary_loss import BoundaryHead


class TrainingModel(nn.Module):
    """A network in training, with a boundary head where the recipe has the boundary constraint.

    Boundaries are predicted by the network's own edge head, or else by a `BoundaryHead` on the first stage's feature,
    which is not kept after training.
    """

    def __init__(self, model: Vivim, predicts_edges: bool = False) -> None:
        super().__init__()
        self.model = model
        self.boundary: BoundaryHead | None = None
        self._first: Tensor | None = None
        self._predicts_edges = predicts_edges
        if predicts_edges:
            self.boundary = None if model.edge_head else BoundaryHead(model.config.preset.widths[0])
            model.encoder.register_forward_hook(self._keep_first)

    def _keep_first(self, module: nn.Module, inputs: tuple[Tensor, ...], output: list[Tensor]) -> None:
        self._first = output[0]

    def forward(self, x: Tensor, guide: Tensor | None) -> tuple[Tensor, ...]:
        """Logits ``(B, T, C, H, W)``, and with boundaries also edge logits ``(B, T, 1, H/4, W/4)``."""
        logits = self.model(x, guide)
        if not self._predicts_edges:
            return (logits,)
        head = self.boundary or self.model.edge_head
        assert head is not None and self._first is not None
        edges = head(self._first).unflatten(0, x.shape[:2])
        self._first = None
        return logits, edges
