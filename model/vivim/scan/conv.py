"""The short causal convolution before each scan, with its SiLU, in the scan's order of tokens.

Takes float tensors of one device. On the CPU compiled kernels read tokens by index; elsewhere PyTorch convolves a
reordered copy, or the package causal-conv1d does where a trial call of it succeeds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.scan.backends import causal_conv1d_works, compiled_for_cpu
from vivim.scan.token_orders import check_order, inverse_order

_LONGEST_FOR_CUDA = 65_535 * 64
"""Tokens a sequence may have in causal-conv1d: CUDA's largest grid, of blocks of 64 tokens."""


def causal_conv(u: Tensor, weight: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
    """Apply a causal convolution to every channel of a sequence, then SiLU.

    Parameters
    ----------
    u : Tensor
        ``(batch, L, E)``, any float dtype.
    weight : Tensor
        ``(E, K)``: the last tap is the token itself, the first the one K - 1 steps before it in the order.
    bias : Tensor
        ``(E,)``.
    order : Tensor, optional
        ``(L,)`` int64: the order in which tokens follow one another, as in `selective_scan`.

    Returns
    -------
    Tensor
        ``(batch, L, E)`` in the dtype of `u`, differentiable. Tokens stay where they lie in memory.

    Raises
    ------
    ValueError
        The order does not fit, as in `selective_scan`.
    """
    if order is not None:
        check_order(order, u)
    if u.device.type == "cpu" and u.dtype != torch.float64 and compiled_for_cpu():
        from vivim.scan.cpu.conv_kernels import numba_conv

        return numba_conv(u, weight, bias, order)
    visited = u if order is None else u[:, order]
    y = _convolved(visited.transpose(1, 2), weight, bias).transpose(1, 2)
    return y if order is None else y[:, inverse_order(order)]


def _convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply the convolution to channels-first ``(batch, E, L)``."""
    if x.is_cuda and x.shape[2] <= _LONGEST_FOR_CUDA and causal_conv1d_works():
        from causal_conv1d import causal_conv1d_fn

        return causal_conv1d_fn(x, weight.to(x.dtype), bias.to(x.dtype), activation="silu")
    taps = weight.shape[1]
    return F.silu(
        F.conv1d(x, weight[:, None].to(x.dtype), bias.to(x.dtype), padding=taps - 1, groups=len(weight))[
            ..., : x.shape[2]
        ]
    )
