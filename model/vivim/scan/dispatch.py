"""The public functions of the scan, and of the convolution before it: check the tensors, choose a backend, run it.

Takes float tensors (float16, bfloat16, float32, float64) of one device. Every backend gives the same numbers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.scan.backends import (
    READ_BY_ORDER,
    causal_conv1d_works,
    choose_backend,
    compiled_for_cpu,
    load_backend,
)
from vivim.scan.inputs import ScanInputs, check_order, inverse_order, without_autocast


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    backend: str = "auto",
    order: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run the selective state space recurrence over a sequence, differentiable in every tensor given.

    With ``dt = softplus(delta + delta_bias)``, per channel e and state n::

        s[l] = exp(dt[l, e] A[e, n]) s[l - 1] + dt[l, e] B[l, n] u[l, e],    s[-1] = 0
        y[l, e] = sum over n of C[l, n] s[l] + D[e] u[l, e],                 output = y SiLU(z)

    Parameters
    ----------
    u, delta : torch.Tensor
        Input and step size before the softplus, shape (batch, L, E), any float dtype.
    A : torch.Tensor
        Decay rates, shape (E, N), negative; positive rates may overflow.
    B, C : torch.Tensor
        Input and output weights of the states, shape (batch, L, N).
    D : torch.Tensor, optional
        Skip weights, shape (E,).
    z : torch.Tensor, optional
        Gate, shape (batch, L, E).
    delta_bias : torch.Tensor, optional
        Added to `delta` inside the softplus, shape (E,).
    backend : str
        "auto", "triton" or "mamba-ssm" (CUDA), "numba" (CPU) or "torch" (any device). "auto" follows the
        environment variable VIVIM_SCAN, then the tensors' device.
    order : torch.Tensor, optional
        Permutation of the tokens, shape (L,), int64, on the device of `u`: the recurrence visits token ``order[0]``,
        then ``order[1]`` and so on. Inputs and output stay where they lie in memory. By default the recurrence
        goes from the first token to the last.

    Returns
    -------
    torch.Tensor
        Shape (batch, L, E), dtype of `u`. The recurrence runs in float32, under autocast too. In "torch" it runs
        in float64 when `u` is float64.

    Raises
    ------
    ValueError
        Shapes do not fit together, or a tensor is not of a float dtype.
    ScanBackendError
        The backend is unknown, not installed, or cannot run on the tensors' device.

    References
    ----------
    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752.
    """
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias)
    inputs.check()
    if order is not None:
        check_order(order, u)
    name = choose_backend(backend, u)
    scan = load_backend(name)
    if u.numel() == 0:
        return u.clone()
    with without_autocast(u.device):
        if order is None:
            return scan(inputs).to(u.dtype)
        if name in READ_BY_ORDER:
            return scan(inputs, order).to(u.dtype)
        return scan(inputs.in_order(order)).to(u.dtype)[:, inverse_order(order)]


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
