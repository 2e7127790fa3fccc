"""SegFormer's all-MLP decoder, with its linear parts folded together.

Written plainly, each stage's feature goes through its own linear layer, is upsampled to the finest grid,
concatenated, and mixed by a 1x1 convolution. Bilinear interpolation and 1x1 convolutions commute, so the linear
layer and its slice of the 1x1 convolution are multiplied into one small matrix and applied BEFORE upsampling.
The result is the same and most of the work is gone; this holds in training too.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network.layers import EPS


class Decoder(nn.Module):
    """From the four stages' features to logits on the finest grid."""

    def __init__(self, widths: tuple[int, ...], decoder_width: int, num_classes: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, decoder_width) for width in widths)
        self.fuse = nn.Conv2d(len(widths) * decoder_width, decoder_width, 1, bias=False)
        self.norm = nn.BatchNorm2d(decoder_width, eps=EPS)
        self.dropout = nn.Dropout(0.1)
        self.classify = nn.Conv2d(decoder_width, num_classes, 1)

    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """One ``(decoder_width, width)`` matrix and bias per stage: the linear layer, then its slice of `fuse`."""
        slices = self.fuse.weight.flatten(1).chunk(len(self.linears), dim=1)[
            ::-1
        ]  # deepest stage comes first
        folded = []
        for mix, linear in zip(slices, self.linears, strict=True):
            assert isinstance(linear, nn.Linear)
            folded.append((mix @ linear.weight, mix @ linear.bias))
        return folded

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features ``(n, width_i, h_i, w_i)``, finest first, to logits ``(n, num_classes, h_0, w_0)``."""
        grid = features[0].shape[-2:]
        mixed: Tensor | None = None
        for feature, (weight, bias) in zip(features, self.folded(), strict=True):
            y = F.conv2d(feature, weight[:, :, None, None], bias)
            if y.shape[-2:] != grid:
                y = F.interpolate(y, size=grid, mode="bilinear", align_corners=False)
            mixed = y if mixed is None else mixed + y
        assert mixed is not None
        return self.classify(self.dropout(F.relu(self.norm(mixed))))
