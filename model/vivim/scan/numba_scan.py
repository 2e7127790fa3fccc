"""The scan on the CPU, forward and backward, by the compiled kernels of `numba_kernels`.

Takes CPU tensors of any float dtype (computed in float32) and of any shape; channels and states
are padded to a multiple of 16. Blocks of channels are shared among as many threads as `torch.get_num_threads()`
says, from a pool of this module's own: numba's parallel loops stall beside PyTorch's threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vivim.scan import numba_kernels as kernels
from vivim.scan.backends import ScanBackendError

_pool: ThreadPoolExecutor | None = None


def numba_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
) -> torch.Tensor:
    """Run the scan on the CPU; shapes as in `selective_scan`, result in float32.

    Raises
    ------
    ScanBackendError
        The tensors are not on the CPU.
    """
    if u.device.type != "cpu":
        raise ScanBackendError(
            f"The scan backend 'numba' needs tensors on the CPU, not on {u.device}. "
            "Move them there or choose the backend 'auto'."
        )
    width = u.shape[-1]
    nothing = torch.zeros(width)
    y = _NumbaScan.apply(
        _padded(u, kernels.LANES),
        _padded(delta, kernels.LANES),
        _padded(_padded(A, kernels.STATES).t(), kernels.LANES),
        _padded(B, kernels.STATES),
        _padded(C, kernels.STATES),
        _padded(nothing if D is None else D, kernels.LANES),
        None if z is None else _padded(z, kernels.LANES),
        _padded(nothing if delta_bias is None else delta_bias, kernels.LANES),
    )
    return y[..., :width]


def _padded(values: torch.Tensor, multiple: int) -> torch.Tensor:
    """Contiguous float32, the last axis filled up with zeros to a multiple; a copy only where needed."""
    padding = -values.shape[-1] % multiple
    return (F.pad(values.float(), (0, padding)) if padding else values.float()).contiguous()


class _NumbaScan(torch.autograd.Function):
    """As `selective_scan`, on contiguous float32 tensors with padded channels and states; A is (N, E)."""

    @staticmethod
    def forward(
        ctx: Any,
        u: torch.Tensor,
        delta: torch.Tensor,
        A: torch.Tensor,
        B: torch.Tensor,
        C: torch.Tensor,
        D: torch.Tensor,
        z: torch.Tensor | None,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        batch, length, width = u.shape
        blocks = width // kernels.LANES
        keep = any(ctx.needs_input_grad)
        tiles = -(-length // kernels.STEPS) if keep else 0
        y = torch.empty_like(u)
        checkpoints = torch.empty(batch, tiles, blocks, A.shape[0], kernels.LANES)
        arrays = [_array(x) for x in (u, delta, A, B, C, D, u if z is None else z, bias)]
        outputs = (z is not None, _array(y), _array(checkpoints), keep)

        def run(first: int, stride: int) -> None:
            kernels.forward(*arrays, *outputs, first, stride)

        _share(run, _threads(batch * blocks))
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, checkpoints)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, delta, A, B, C, D, z, bias, checkpoints = ctx.saved_tensors
        batch, _, width = u.shape
        threads = _threads(batch * (width // kernels.LANES))
        d_u, d_delta = torch.empty_like(u), torch.empty_like(u)
        d_z = None if z is None else torch.empty_like(z)
        d_A, d_D, d_bias = u.new_empty(batch, *A.shape), u.new_empty(batch, width), u.new_empty(batch, width)
        d_B, d_C = B.new_zeros(threads, *B.shape), C.new_zeros(threads, *C.shape)
        inputs = [
            _array(x) for x in (gradient.contiguous(), u, delta, A, B, C, D, u if z is None else z, bias)
        ]
        wanted = [_array(x) for x in (d_u, d_delta, d_A)]
        sums = [_array(x) for x in (d_D, d_u if d_z is None else d_z, d_bias)]
        per_thread = _array(d_B), _array(d_C)
        gated, kept = z is not None, _array(checkpoints)

        def run(first: int, stride: int) -> None:
            mine = [x[first] for x in per_thread]
            kernels.backward(*inputs, gated, kept, *wanted, *mine, *sums, first, stride)

        _share(run, threads)
        return d_u, d_delta, d_A.sum(0), d_B.sum(0), d_C.sum(0), d_D.sum(0), d_z, d_bias.sum(0)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def _threads(blocks: int) -> int:
    return max(1, min(torch.get_num_threads(), blocks))


def _share(run: Callable[[int, int], None], threads: int) -> None:
    """Call `run(first, threads)` for each thread's first block, the caller being one of the threads."""
    global _pool
    if threads > 1 and _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="vivim-scan")
    others = [_pool.submit(run, first, threads) for first in range(1, threads)] if _pool else []
    run(0, threads)
    for other in others:
        other.result()


def _forget_pool() -> None:
    """Drop the pool in a forked process: its threads exist in the parent only."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
