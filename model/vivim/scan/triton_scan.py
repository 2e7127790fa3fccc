"""The scan on CUDA, forward and backward, by the Triton kernels of `triton_kernels`.

Takes CUDA tensors of float16, bfloat16, float32 or float64 (computed in float32); with TRITON_INTERPRET=1 in the
environment before this module is imported, CPU tensors too, slowly, for tests. A sequence is cut into chunks that run
side by side, so that a single long sequence fills the GPU.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch.autograd.function import once_differentiable

from vivim.scan import triton_kernels as kernels
from vivim.scan.backends import ScanBackendError

_BLOCK_E = 32
_WARPS = 1  # a warp of 32 threads owns 32 channels
_CHUNK_SIZES = (64, 32)  # multiples of kernels.GROUP
_ENOUGH_PROGRAMS = 1024  # about 8 warps for each of the 132 multiprocessors of an H100
_CARRY_ROWS, _CARRY_COLUMNS = 64, 32  # chunks and states that a program takes at a time between the passes


def triton_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
) -> torch.Tensor:
    """Run the scan on the GPU; shapes as in `selective_scan`, result in the dtype of `u`.

    Raises
    ------
    ScanBackendError
        The tensors are not on a CUDA device.
    """
    if not u.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ScanBackendError(
            f"The scan backend 'triton' needs tensors on a CUDA device, not on {u.device}. "
            "Move them there or choose the backend 'auto'."
        )
    return _TritonScan.apply(u, delta, A, B, C, D, z, delta_bias)


@dataclass(frozen=True)
class _Grid:
    """How a scan of (batch, L, E) with N states is spread over programs."""

    chunk: int
    chunks: int
    blocks: int
    programs: tuple[int]
    sizes: dict[str, int]
    """Arguments that the kernels over chunks share."""
    carriers: tuple[int]
    carrying: dict[str, int]
    """Arguments of the kernel between them."""
    states_shape: tuple[int, ...]
    """(batch, chunks, N, E)"""
    channels_shape: tuple[int, ...]
    """(batch, chunks, E)"""


@functools.lru_cache(maxsize=256)
def _grid_of(batch: int, length: int, width: int, states: int) -> _Grid:
    """Choose the longest chunks that still give every multiprocessor enough to do."""
    blocks = -(-width // _BLOCK_E)
    rows = batch * blocks
    chunk = next((c for c in _CHUNK_SIZES if rows * (length // c) >= _ENOUGH_PROGRAMS), _CHUNK_SIZES[-1])
    chunks = -(-length // chunk)
    carry_blocks = -(-states * width // _CARRY_COLUMNS)
    shared = {"E": width, "N": states, "chunks": chunks, "num_warps": _WARPS}
    return _Grid(
        chunk=chunk,
        chunks=chunks,
        blocks=blocks,
        programs=(rows * chunks,),
        sizes={**shared, "blocks": blocks, "BLOCK_N": triton.next_power_of_2(states), "BLOCK_E": _BLOCK_E},
        carriers=(batch * carry_blocks,),
        carrying={**shared, "blocks": carry_blocks, "ROWS": _CARRY_ROWS, "COLUMNS": _CARRY_COLUMNS},
        states_shape=(batch, chunks, states, width),
        channels_shape=(batch, chunks, width),
    )


class _TritonScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        u: torch.Tensor,
        delta: torch.Tensor,
        A: torch.Tensor,
        B: torch.Tensor,
        C: torch.Tensor,
        D: torch.Tensor | None,
        z: torch.Tensor | None,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        u, delta, A, B, C = (x.contiguous() for x in (u, delta, A, B, C))
        D, z, bias = (None if x is None else x.contiguous() for x in (D, z, bias))
        batch, length, width = u.shape
        grid = _grid_of(batch, length, width, A.shape[1])
        sizes, chunk = grid.sizes, grid.chunk
        own, starts = (_float32(grid.states_shape, u) for _ in range(2))
        total = _float32(grid.channels_shape, u)
        y = torch.empty_like(u)
        has_bias, has_D, has_z = bias is not None, D is not None, z is not None
        with _on_device(u):
            kernels.chunk_states[grid.programs](
                u, delta, _or(bias, u), A, B, own, total,
                L=length, HAS_BIAS=has_bias, CHUNK=chunk, **sizes,
            )  # fmt: skip
            kernels.carry[grid.carriers](own, total, A, starts, REVERSE=False, **grid.carrying)
            kernels.chunk_outputs[grid.programs](
                u, delta, _or(bias, u), A, B, C, _or(D, u), _or(z, u), starts, y,
                L=length, HAS_BIAS=has_bias, HAS_D=has_D, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, starts, total)
        ctx.grid, ctx.length = grid, length
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, delta, A, B, C, D, z, bias, starts, total = ctx.saved_tensors
        grid, gradient = ctx.grid, gradient.contiguous()
        sizes, length, chunk = grid.sizes, ctx.length, grid.chunk
        has_bias, has_D, has_z = bias is not None, D is not None, z is not None
        own, adjoints, d_A = (_float32(grid.states_shape, u) for _ in range(3))
        batch, chunks, *tile = grid.states_shape
        scratch = _float32((batch, chunks, chunk // kernels.GROUP, *tile), u)
        d_u, d_delta = torch.empty_like(u), torch.empty_like(delta)
        d_z = torch.empty_like(z) if has_z else None
        d_B, d_C = (_float32((grid.blocks, *B.shape), u) for _ in range(2))
        d_D = _float32(grid.channels_shape, u) if has_D else None
        d_bias = _float32(grid.channels_shape, u) if has_bias else None
        with _on_device(u):
            kernels.chunk_adjoints[grid.programs](
                gradient, delta, _or(bias, u), A, C, _or(z, u), own,
                L=length, HAS_BIAS=has_bias, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
            kernels.carry[grid.carriers](own, total, A, adjoints, REVERSE=True, **grid.carrying)
            kernels.chunk_gradients[grid.programs](
                gradient, u, delta, _or(bias, u), A, B, C, _or(D, u), _or(z, u), starts, adjoints, scratch,
                d_u, d_delta, _or(d_z, u), d_B, d_C, d_A, _or(d_D, u), _or(d_bias, u),
                L=length, batches=batch, HAS_BIAS=has_bias, HAS_D=has_D, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
        return (
            d_u,
            d_delta,
            d_A.sum((0, 1)).t().to(A.dtype),
            d_B.sum(0).to(B.dtype),
            d_C.sum(0).to(C.dtype),
            _over_chunks(d_D, D),
            d_z,
            _over_chunks(d_bias, bias),
        )


def _float32(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """New tensor on the device of `like`."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _over_chunks(parts: torch.Tensor | None, like: torch.Tensor | None) -> torch.Tensor | None:
    """Add the chunks' parts (batch, chunks, E) of the gradient of an optional input."""
    return None if parts is None or like is None else parts.sum((0, 1)).to(like.dtype)


def _or(tensor: torch.Tensor | None, stand_in: torch.Tensor) -> torch.Tensor:
    """Return what a kernel gets for a tensor that is absent: a pointer it does not follow."""
    return stand_in if tensor is None else tensor


def _on_device(tensor: torch.Tensor) -> contextlib.AbstractContextManager:
    """Triton launches on the current device, which need not be the tensors'."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
