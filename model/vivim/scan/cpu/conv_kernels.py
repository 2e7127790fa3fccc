"""CPU kernels of the causal convolution with SiLU, forward and backward, compiled by numba.

Arrays are C-contiguous float32: u, y (batch, L, E) with E a multiple of `COUNT`; weight (K, E), transposed so that
channels lie side by side; bias (E,). `rows` (L,) int64 is the order of the tokens. A kernel works on the steps
``l0..l1`` of sequence b, in rows, and releases the GIL.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from vivim.scan.cpu.numba_scan import array_of, padded
from vivim.scan.cpu.simd import COUNT, aligned, inlined, kernel, load, part, sigmoid, spread, store
from vivim.scan.cpu.thread_pool import run_each, spans

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


def numba_conv(
    u: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, order: torch.Tensor | None
) -> torch.Tensor:
    """Apply `vivim.scan.causal_conv` on the CPU in float32, with a result in the dtype of `u`."""
    width = u.shape[-1]
    rows = torch.arange(u.shape[1]) if order is None else order.contiguous()
    y = _NumbaConv.apply(padded(u), padded(weight.t()), padded(bias), rows)
    return y[..., :width].to(u.dtype)


@part
def _before_activation(u, weight, bias, rows, base, i, j):
    """Convolution at step i, channels from j on, of the sequence that begins at row `base` of u."""
    width, taps = u.shape[2], weight.shape[0]
    value = load(bias, j)
    for k in range(max(0, taps - 1 - i), taps):
        value = value + load(weight, k * width + j) * load(u, (base + rows[i - taps + 1 + k]) * width + j)
    return value


@inlined
def _slope(x):
    """Derivative of SiLU."""
    opened = sigmoid(x)
    return opened * (x * (spread(_ONE) - opened) + _ONE)


@kernel
def forward(u, weight, bias, rows, y, b, l0, l1):
    """Write y, of u's shape."""
    base, width = b * u.shape[1], u.shape[2]
    for i in range(l0, l1):
        for j in range(0, width, COUNT):
            value = _before_activation(u, weight, bias, rows, base, i, j)
            store(y, (base + rows[i]) * width + j, value * sigmoid(value))


@kernel
def _inner_gradient(d_y, u, weight, bias, rows, inner, d_weight, d_bias, b, l0, l1):
    """Write the gradient before the SiLU to `inner`, of u's shape, and add to d_weight (K, E) and d_bias (E,)."""
    base, width, taps = b * u.shape[1], u.shape[2], weight.shape[0]
    for j in range(0, width, COUNT):
        sums = aligned((taps + 1) * COUNT)
        sums[:] = _ZERO
        for i in range(l0, l1):
            at = (base + rows[i]) * width + j
            g = load(d_y, at) * _slope(_before_activation(u, weight, bias, rows, base, i, j))
            store(inner, at, g)
            store(sums, taps * COUNT, load(sums, taps * COUNT) + g)
            for k in range(max(0, taps - 1 - i), taps):
                x = load(u, (base + rows[i - taps + 1 + k]) * width + j)
                store(sums, k * COUNT, load(sums, k * COUNT) + g * x)
        for k in range(taps):
            store(d_weight, k * width + j, load(d_weight, k * width + j) + load(sums, k * COUNT))
        store(d_bias, j, load(d_bias, j) + load(sums, taps * COUNT))


@kernel
def _input_gradient(inner, weight, rows, d_u, b, l0, l1):
    base, length, width, taps = b * inner.shape[1], inner.shape[1], inner.shape[2], weight.shape[0]
    for i in range(l0, l1):
        for j in range(0, width, COUNT):
            value = spread(_ZERO)
            for k in range(max(0, taps + i - length), taps):
                at = (base + rows[i + taps - 1 - k]) * width + j
                value = value + load(weight, k * width + j) * load(inner, at)
            store(d_u, (base + rows[i]) * width + j, value)


class _NumbaConv(torch.autograd.Function):
    """Convolution of contiguous float32 tensors with padded channels, weight (K, E), in an order of tokens."""

    @staticmethod
    def forward(
        ctx: Any, u: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, order: torch.Tensor
    ) -> torch.Tensor:
        y = torch.empty_like(u)
        arrays = [array_of(x) for x in (u, weight, bias, order, y)]
        run_each(lambda _, *span: forward(*arrays, *span), spans(*u.shape[:2]))
        ctx.save_for_backward(u, weight, bias, order)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, weight, bias, order = ctx.saved_tensors
        work = spans(*u.shape[:2])
        inner, d_u = torch.empty_like(u), torch.empty_like(u)
        d_weight, d_bias = weight.new_zeros(len(work), *weight.shape), bias.new_zeros(len(work), len(bias))
        inputs = [array_of(x) for x in (gradient.contiguous(), u, weight, bias, order, inner)]
        sums = array_of(d_weight), array_of(d_bias)
        run_each(lambda i, *span: _inner_gradient(*inputs, sums[0][i], sums[1][i], *span), work)
        outputs = [array_of(x) for x in (inner, weight, order, d_u)]
        run_each(lambda _, *span: _input_gradient(*outputs, *span), work)
        return d_u, d_weight.sum(0), d_bias.sum(0), None
