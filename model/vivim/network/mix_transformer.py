"""The per-frame half of a stage: SegFormer's Mix Transformer (MiT) blocks.

Source: Xie et al., "SegFormer" (arXiv 2105.15203). Every class equals the one of its name in `vivim.network.paper`.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network import fused_ops
from vivim.network.layers import EPS, DepthwiseSpace, DropPath, MixFFN, conv2d_on_tokens


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution, then LayerNorm."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Embed tokens ``(n, h, w, channels)`` as tokens ``(n, h/stride, w/stride, width)``.

        `added`, of the output's shape, is added before the LayerNorm. It is the embedded guide, and ours alone.
        """
        y = conv2d_on_tokens(self.proj, x)
        return self.norm(y if added is None else y + added)


class EfficientAttention(nn.Module):
    """Self-attention of one frame, with its keys and values on a grid `reduction` times coarser.

    Equal to `paper.EfficientAttention`: PyTorch's fused kernel computes softmax(Q Kᵀ / √(d/heads)) V without keeping
    the weights.
    """

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
        self.reduce_norm = nn.LayerNorm(width, eps=EPS) if reduction > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens in, tokens out, same shape ``(n, h, w, width)``."""
        n, h, w, width = x.shape
        source = x
        if self.reduce is not None and self.reduce_norm is not None:
            source = self.reduce_norm(conv2d_on_tokens(self.reduce, x))
        source = source.reshape(n, -1, width)
        query, key, value = (
            fused_ops.linear(tokens, linear.weight, linear.bias)
            .unflatten(2, (self.heads, -1))
            .transpose(1, 2)
            for linear, tokens in (
                (self.query, x.reshape(n, -1, width)),
                (self.key, source),
                (self.value, source),
            )
        )
        y = F.scaled_dot_product_attention(query, key, value)
        together = y.transpose(1, 2).reshape(n, h, w, width)
        return fused_ops.linear(together, self.output.weight, self.output.bias)


class MiTBlock(nn.Module):
    """Pre-norm attention and pre-norm Mix-FFN, each with a residual."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = EfficientAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MixFFN(width, DepthwiseSpace)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens in, tokens out, same shape ``(n, h, w, width)``."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
