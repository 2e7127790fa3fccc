"""Fused CPU operations for inference: one pass over memory where PyTorch makes several.

They equal the modules they stand in for, in float32 whatever they are given, and without gradients. `usable` says when
they may be used.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vivim.scan.backends import compiled_for_cpu
from vivim.scan.cpu.thread_pool import run_each, spans


def usable(*tensors: Tensor) -> bool:
    """Whether these tensors are on the CPU, not float64, need no gradient, and numba works and is not ruled out."""
    return (
        all(x.device.type == "cpu" and x.dtype != torch.float64 for x in tensors)
        and not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))
        and compiled_for_cpu()
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer to tokens ``(..., width)``.

    Equal to `F.linear`. In float32 on a CPU it is a 1x1 convolution, because PyTorch sends linear layers to MKL and
    convolutions to oneDNN, which on processors that are not Intel's does up to a third more multiplications a second.
    """
    if not (
        x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and usable(x, weight)
    ):
        return F.linear(x, weight, bias)
    shape = x.shape
    pixels = x.reshape(1, -1, 1, shape[-1]).permute(0, 3, 1, 2)
    y = F.conv2d(pixels, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*shape[:-1], len(weight))


def depthwise_gelu(x: Tensor, weight: Tensor, bias: Tensor, frames: int) -> Tensor:
    """Compute the GELU of a depthwise convolution over space, and over time where the kernel has a time axis.

    Equal to the middle of `paper.MixFFN`, in float32. `x` is ``(clips * frames, h, w, channels)``, channels a multiple
    of 16. `weight` is ``(channels, 1, 3, 3)`` or ``(channels, 1, 3, 3, 3)``. Frames of different clips do not touch.
    """
    from vivim.network import fused_kernels as kernels

    x = x.float().contiguous()
    taps = weight.detach().float().reshape(weight.shape[0], -1, 9).permute(1, 2, 0).contiguous().numpy()
    y = torch.empty_like(x)
    arrays = x.numpy(), taps, bias.detach().float().numpy(), frames, y.numpy()
    rows = x.shape[0] * x.shape[1]
    run_each(lambda number, b, l0, l1: kernels.depthwise_gelu(*arrays, l0, l1), spans(1, rows))
    return y


def mix_and_classify(
    features: list[Tensor], folded: list[tuple[Tensor, Tensor]], weight: Tensor, bias: Tensor
) -> Tensor:
    """Run the folded decoder: four linear layers, upsampling to the finest grid, sum, ReLU, linear layer.

    Equal to `paper.Decoder` in evaluation, with the matrices of `Decoder.folded` and its BatchNorm in them. Features
    are ``(n, width_i, h_i, w_i)``, finest first, logits ``(n, classes, h_0, w_0)`` float32. The decoder's width is a
    multiple of 16.
    """
    from vivim.network import fused_kernels as kernels

    projected = [
        linear(feature.permute(0, 2, 3, 1), matrix, offset).float().contiguous().detach().numpy()
        for feature, (matrix, offset) in zip(features, folded, strict=True)
    ]
    n, height, width, _ = projected[0].shape
    logits = torch.empty(n, height, width, len(bias))
    arrays = (
        *projected,
        weight.detach().float().contiguous().numpy(),
        bias.detach().float().numpy(),
        logits.numpy(),
    )
    run_each(lambda number, b, l0, l1: kernels.mix_and_classify(*arrays, l0, l1), spans(1, n * height))
    return logits.permute(0, 3, 1, 2)
