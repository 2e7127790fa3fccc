"""The heads: SegFormer's all-MLP decoder, with its linear parts folded together, and the presence of a lesion.

In the paper each stage's feature goes through its own linear layer, is upsampled to the finest grid, concatenated, and
mixed by a 1x1 convolution. Bilinear interpolation and 1x1 convolutions commute. So the linear layer and its slice of
the 1x1 convolution are multiplied into one small matrix, which is applied before upsampling and saves most of the work.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network import fused_ops
from vivim.network.layers import EPS


class Decoder(nn.Module):
    """From the four stages' features to logits on the finest grid.

    Equal to `paper.Decoder`, in training too: upsampling after the folded matrix equals upsampling before it, and the
    sum over stages equals the 1x1 convolution of their concatenation.
    """

    def __init__(
        self, widths: tuple[int, ...], decoder_width: int, num_classes: int, organ: bool = False
    ) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, decoder_width) for width in widths)
        self.fuse = nn.Conv2d(len(widths) * decoder_width, decoder_width, 1, bias=False)
        self.norm = nn.BatchNorm2d(decoder_width, eps=EPS)
        self.dropout = nn.Dropout(0.1)
        self.classify = nn.Conv2d(decoder_width, num_classes, 1)
        self.organ = nn.Conv2d(decoder_width, 1, 1) if organ else None

    def folded(self) -> list[tuple[Tensor, Tensor]]:
        """Matrix ``(decoder_width, width)`` and bias of each stage: its linear layer, then its slice of `fuse`."""
        # deepest stage comes first
        slices = self.fuse.weight.flatten(1).chunk(len(self.linears), dim=1)[::-1]
        folded = []
        for mix, linear in zip(slices, self.linears, strict=True):
            assert isinstance(linear, nn.Linear)
            folded.append((mix @ linear.weight, mix @ linear.bias))
        return folded

    def _folded_with_norm(self) -> list[tuple[Tensor, Tensor]]:
        """Fold the BatchNorm of evaluation, a scale and a shift, into the matrices of `folded`."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        (matrix, bias), *others = [(scale[:, None] * m, scale * b) for m, b in self.folded()]
        return [(matrix, bias + norm.bias - norm.running_mean * scale), *others]

    def forward(self, features: list[Tensor], with_organ: bool = False) -> Tensor:
        """Decode features ``(n, width_i, h_i, w_i)``, finest first, to logits ``(n, num_classes, h_0, w_0)``.

        `with_organ` adds one plane of logits for organs, the last.
        """
        if not (self.training or with_organ) and fused_ops.usable(*features, self.classify.weight):
            weight, bias = self.classify.weight.flatten(1), self.classify.bias
            assert bias is not None
            return fused_ops.mix_and_classify(features, self._folded_with_norm(), weight, bias)
        grid = features[0].shape[-2:]
        folded = self.folded() if self.norm.training else self._folded_with_norm()
        mixed: Tensor | None = None
        for feature, (weight, bias) in zip(features, folded, strict=True):
            y = F.conv2d(feature, weight[:, :, None, None].to(feature.dtype), bias.to(feature.dtype))
            if y.shape[-2:] != grid:
                y = F.interpolate(y, size=grid, mode="bilinear", align_corners=False)
            mixed = y if mixed is None else mixed.add_(y)
        assert mixed is not None
        hidden = self.dropout(F.relu(self.norm(mixed) if self.norm.training else mixed))
        logits = self.classify(hidden)
        return torch.cat((logits, self.organ(hidden)), 1) if with_organ and self.organ is not None else logits


PRESENCE_WIDTH = 64


class PresenceHead(nn.Module):
    """Say for each frame whether it shows a lesion.

    The means and the maxima of the two deepest features, which have seen the whole clip, go through a small network.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * sum(widths[2:]), eps=EPS)
        self.hidden = nn.Linear(2 * sum(widths[2:]), PRESENCE_WIDTH)
        self.classify = nn.Linear(PRESENCE_WIDTH, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return logits ``(n,)`` float32 from the four features ``(n, width_i, h_i, w_i)``, finest first."""
        pooled = [part for f in features[2:] for part in (f.mean((-1, -2)), f.amax((-1, -2)))]
        hidden = torch.relu(self.hidden(self.norm(torch.cat(pooled, 1).float())))
        return self.classify(hidden)[:, 0].float()
