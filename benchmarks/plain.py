"""The network arranged as the paper's text and figures read, with nothing rearranged for speed.

`plain(model)` returns a copy of a `Vivim` with the same weights and the same results, in which every stage's feature is
projected at full decoder width and upsampled before mixing, depthwise convolutions over space and time are 3-D,
attention multiplies its matrices one after the other, and the three scans see flipped and transposed copies of
the tokens. It is what the network is measured against and, in the tests, what it must agree with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vivim.network import Vivim
from vivim.network.decoder import Decoder
from vivim.network.layers import MixFFN
from vivim.network.mit import EfficientAttention
from vivim.network.temporal_mamba import ScanBranch, STMamba

Scan = Callable[..., Tensor]


def loop_scan(u, delta, A, B, C, D, z, delta_bias):
    """Step by step in float32, as a plain implementation would; shapes as in `vivim.scan.selective_scan`."""
    step = F.softplus(delta + delta_bias)
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for dt, drive, b, c in zip(step.unbind(1), (step * u).unbind(1), B.unbind(1), C.unbind(1), strict=True):
        state = torch.exp(dt[..., None] * A) * state + drive[..., None] * b[:, None]
        outputs.append((state * c[:, None]).sum(-1))
    return (torch.stack(outputs, 1) + D * u) * F.silu(z)


class PlainDecoder(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.parts = decoder

    def forward(self, features: list[Tensor]) -> Tensor:
        grid, parts = features[0].shape[-2:], self.parts
        projected = []
        for feature, linear in zip(features, parts.linears, strict=True):
            y = linear(feature.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, feature.shape[-2:])
            projected.append(F.interpolate(y, size=grid, mode="bilinear", align_corners=False))
        mixed = parts.fuse(torch.cat(projected[::-1], dim=1))
        return parts.classify(parts.dropout(F.relu(parts.norm(mixed))))


class PlainMixFFN(nn.Module):
    def __init__(self, mlp: MixFFN) -> None:
        super().__init__()
        self.parts = mlp

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:
        return self.parts.fc2(F.gelu(self._depthwise(self.parts.fc1(x), frames)))

    def _depthwise(self, x: Tensor, frames: int) -> Tensor:
        n, h, w, width = x.shape
        conv = self.parts.depthwise
        if isinstance(conv, nn.Conv2d):
            y = nn.Conv2d.forward(conv, x.permute(0, 3, 1, 2).contiguous())
            return y.permute(0, 2, 3, 1).contiguous()
        volume = x.view(n // frames, frames, h, w, width).permute(0, 4, 1, 2, 3).contiguous()
        return nn.Conv3d.forward(conv, volume).permute(0, 2, 3, 4, 1).reshape(n, h, w, width)


class PlainAttention(nn.Module):
    def __init__(self, attention: EfficientAttention) -> None:
        super().__init__()
        self.parts = attention

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, width = x.shape
        parts, source = self.parts, x
        if parts.reduce is not None:
            source = parts.reduce_norm(parts.reduce(x.permute(0, 3, 1, 2).contiguous()).permute(0, 2, 3, 1))
        source = source.reshape(n, -1, width)
        query, key, value = (
            linear(tokens).view(n, -1, parts.heads, width // parts.heads).transpose(1, 2)
            for linear, tokens in (
                (parts.query, x.reshape(n, -1, width)),
                (parts.key, source),
                (parts.value, source),
            )
        )
        weights = (query @ key.transpose(-1, -2) * (width // parts.heads) ** -0.5).softmax(-1)
        return parts.output((weights @ value).transpose(1, 2).reshape(n, h, w, width))


class PlainSTMamba(nn.Module):
    """Three gated scans of reordered copies, each put back, and their mean."""

    def __init__(self, mamba: STMamba, scan: Scan) -> None:
        super().__init__()
        self.parts = mamba
        self.scan = scan

    def forward(self, x: Tensor, frames: int) -> Tensor:
        batch, length, _ = x.shape
        u, z = self.parts.in_proj(x).chunk(2, dim=-1)
        branches = self.parts.branches

        def by_place(tokens: Tensor) -> Tensor:
            return tokens.view(batch, frames, length // frames, -1).transpose(1, 2).reshape(batch, length, -1)

        def by_frame(tokens: Tensor) -> Tensor:
            return tokens.view(batch, length // frames, frames, -1).transpose(1, 2).reshape(batch, length, -1)

        onward = self._branch(branches["onward"], u, z)
        back = self._branch(branches["backward"], u.flip(1), z.flip(1)).flip(1)
        temporal = by_frame(self._branch(branches["temporal"], by_place(u), by_place(z)))
        return self.parts.out_proj((onward + back + temporal) / 3)

    def _branch(self, branch: ScanBranch, u: Tensor, z: Tensor) -> Tensor:
        length, states = u.shape[1], branch.A_log.shape[1]
        u = F.silu(branch.conv(u.transpose(1, 2))[..., :length]).transpose(1, 2).contiguous()
        step, b, c = branch.x_proj(u).split([branch.rank, states, states], dim=-1)
        delta = F.linear(step, branch.dt_proj.weight)
        rates = -torch.exp(branch.A_log)
        return self.scan(u, delta, rates, b, c, branch.D, z.contiguous(), branch.dt_proj.bias)


def plain(model: Vivim, scan: Scan = loop_scan) -> Vivim:
    """A copy of a network in its plain arrangement, with a scan of the caller's."""
    replaced = copy.deepcopy(model)
    for module in list(replaced.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Decoder):
                setattr(module, name, PlainDecoder(child))
            elif isinstance(child, MixFFN):
                setattr(module, name, PlainMixFFN(child))
            elif isinstance(child, EfficientAttention):
                setattr(module, name, PlainAttention(child))
            elif isinstance(child, STMamba):
                setattr(module, name, PlainSTMamba(child, scan))
    return replaced
