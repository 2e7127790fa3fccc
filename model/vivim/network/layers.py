"""Small parts shared by the encoder's blocks: depthwise convolutions on tokens, Mix-FFN, stochastic depth.

Tokens are ``(frames, height, width, channels)``. Seen as ``(frames, channels, height, width)`` they are channels-last
in memory, so a convolution needs no copy in between.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network import fused_ops

EPS = 1e-5


def conv2d_on_tokens(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 2-D convolution to tokens ``(n, h, w, c)``, with tokens ``(n, h', w', c')`` out."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class DepthwiseSpace(nn.Conv2d):
    """Depthwise 3x3 convolution on tokens ``(n, h, w, c)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:
        """Convolve every frame by itself, whatever `frames` is."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class DepthwiseSpaceTime(nn.Conv3d):
    """Depthwise 3x3x3 convolution over time, height and width on tokens ``(clips * frames, h, w, c)``.

    Equal to the `nn.Conv3d` of `paper.MixFFN`: three 2-D convolutions, one for each offset in time, shifted and summed.
    On a CPU channels-last 2-D kernels are an order of magnitude faster than 3-D ones.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:
        """Convolve clips of `frames` frames each, padded with zeros in time as in space."""
        image = x.permute(0, 3, 1, 2)
        before, here, after = (
            F.conv2d(
                image, self.weight[:, :, k], self.bias if k == 1 else None, padding=1, groups=self.groups
            )
            for k in range(3)
        )
        out = here.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
        if frames > 1:
            out[:, 1:] += before.permute(0, 2, 3, 1).unflatten(0, (-1, frames))[:, :-1]
            out[:, :-1] += after.permute(0, 2, 3, 1).unflatten(0, (-1, frames))[:, 1:]
        return out.flatten(0, 1)


class MixFFN(nn.Module):
    """Linear to four times the width, depthwise convolution, GELU, linear back.

    Equal to `paper.MixFFN`: with `DepthwiseSpace` to its 2-D form, with `DepthwiseSpaceTime` to its 3-D form.
    """

    def __init__(self, width: int, depthwise: type[DepthwiseSpace] | type[DepthwiseSpaceTime]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.depthwise = depthwise(4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:
        """Tokens in, tokens out, same shape ``(n, h, w, width)``."""
        hidden = fused_ops.linear(x, self.fc1.weight, self.fc1.bias)
        weight, bias = self.depthwise.weight, self.depthwise.bias
        assert bias is not None
        if fused_ops.usable(hidden, weight):
            activated = fused_ops.depthwise_gelu(hidden, weight, bias, frames)
            return fused_ops.linear(activated, self.fc2.weight, self.fc2.bias)
        return self.fc2(F.gelu(self.depthwise(hidden, frames)))


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a whole residual branch of a sample with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop along the first axis in training."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(keep).div_(keep)
        return x * mask


def init_weights(module: nn.Module) -> None:
    """Initialise linear and convolution weights as SegFormer does (normal, small or by fan-out)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.Conv2d, nn.Conv3d)):
        fan_out = module.kernel_size[0] ** 2 * module.out_channels / module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def drop_path_rates(largest: float, blocks: int) -> list[float]:
    """Rates of stochastic depth growing linearly from 0 to `largest` over `blocks` blocks."""
    return [largest * i / max(blocks - 1, 1) for i in range(blocks)]
