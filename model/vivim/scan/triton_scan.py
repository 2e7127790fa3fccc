"""The scan on CUDA, forward and backward, by the Triton kernels of `triton_kernels`.

Takes CUDA tensors of float16, bfloat16, float32 or float64 (computed in float32); with TRITON_INTERPRET=1 in the
environment before this module is imported, CPU tensors too, slowly, for tests. A sequence is cut into chunks that run
side by side, so that a single long sequence fills the GPU.
"""

from __future__ import annotations

import contextlib
import math
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
_CHUNK_SIZES = (256, 128, 64, 32)  # multiples of kernels.GROUP
_ENOUGH_PROGRAMS = 4096  # about 32 warps for each of the 132 multiprocessors of an H100
_LOG2E = math.log2(math.e)


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

    batch: int
    length: int
    width: int
    states: int
    chunk: int

    @classmethod
    def of(cls, batch: int, length: int, width: int, states: int) -> _Grid:
        """Choose the longest chunks that still give every multiprocessor enough to do."""
        rows = batch * triton.cdiv(width, _BLOCK_E)
        chunk = next((c for c in _CHUNK_SIZES if rows * (length // c) >= _ENOUGH_PROGRAMS), _CHUNK_SIZES[-1])
        return cls(batch, length, width, states, chunk)

    @property
    def chunks(self) -> int:
        return triton.cdiv(self.length, self.chunk)

    @property
    def blocks(self) -> int:
        return triton.cdiv(self.width, _BLOCK_E)

    @property
    def sizes(self) -> dict[str, int]:
        """Arguments every kernel shares."""
        return {
            "E": self.width,
            "N": self.states,
            "chunks": self.chunks,
            "blocks": self.blocks,
            "BLOCK_N": triton.next_power_of_2(self.states),
            "BLOCK_E": _BLOCK_E,
            "num_warps": _WARPS,
        }

    @property
    def programs(self) -> tuple[int]:
        return (self.batch * self.chunks * self.blocks,)

    @property
    def carriers(self) -> tuple[int]:
        return (self.batch * self.blocks,)

    def chunk_tensor(self, like: torch.Tensor, *inner: int) -> torch.Tensor:
        """New float32 tensor (batch, chunks, *inner) on the device of `like`."""
        return torch.empty(self.batch, self.chunks, *inner, dtype=torch.float32, device=like.device)


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
        u, delta, B, C = (x.contiguous() for x in (u, delta, B, C))
        D, z, bias = (None if x is None else x.contiguous() for x in (D, z, bias))
        rates = (A.float() * _LOG2E).t().contiguous()
        batch, length, width = u.shape
        grid = _Grid.of(batch, length, width, A.shape[1])
        sizes, chunk = grid.sizes, grid.chunk
        starts = grid.chunk_tensor(u, grid.states, grid.width)
        total = grid.chunk_tensor(u, grid.width)
        y = torch.empty_like(u)
        has_bias, has_D, has_z = bias is not None, D is not None, z is not None
        with _on_device(u):
            kernels.chunk_states[grid.programs](
                u, delta, _or(bias, u), B, rates, starts, total,
                L=length, HAS_BIAS=has_bias, CHUNK=chunk, **sizes,
            )  # fmt: skip
            kernels.carry[grid.carriers](starts, total, rates, REVERSE=False, **sizes)
            kernels.chunk_outputs[grid.programs](
                u, delta, _or(bias, u), B, C, _or(D, u), _or(z, u), rates, starts, y,
                L=length, HAS_BIAS=has_bias, HAS_D=has_D, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
        ctx.save_for_backward(u, delta, B, C, D, z, bias, rates, starts, total)
        ctx.grid, ctx.dtype_of_A = grid, A.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, delta, B, C, D, z, bias, rates, starts, total = ctx.saved_tensors
        grid, gradient = ctx.grid, gradient.contiguous()
        sizes, length, chunk = grid.sizes, grid.length, grid.chunk
        has_bias, has_D, has_z = bias is not None, D is not None, z is not None
        adjoints = grid.chunk_tensor(u, grid.states, grid.width)
        scratch = grid.chunk_tensor(u, chunk // kernels.GROUP, grid.states, grid.width)
        d_u, d_delta = torch.empty_like(u), torch.empty_like(delta)
        d_z = torch.empty_like(z) if has_z else None
        d_B = torch.empty(grid.blocks, *B.shape, dtype=torch.float32, device=u.device)
        d_C = torch.empty_like(d_B)
        d_A = grid.chunk_tensor(u, grid.states, grid.width)
        d_D = grid.chunk_tensor(u, grid.width) if has_D else None
        d_bias = grid.chunk_tensor(u, grid.width) if has_bias else None
        with _on_device(u):
            kernels.chunk_adjoints[grid.programs](
                gradient, delta, _or(bias, u), C, _or(z, u), rates, adjoints,
                L=length, HAS_BIAS=has_bias, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
            kernels.carry[grid.carriers](adjoints, total, rates, REVERSE=True, **sizes)
            kernels.chunk_gradients[grid.programs](
                gradient, u, delta, _or(bias, u), B, C, _or(D, u), _or(z, u), rates, starts, adjoints, scratch,
                d_u, d_delta, _or(d_z, u), d_B, d_C, d_A, _or(d_D, u), _or(d_bias, u),
                L=length, batches=grid.batch, HAS_BIAS=has_bias, HAS_D=has_D, HAS_Z=has_z, CHUNK=chunk, **sizes,
            )  # fmt: skip
        return (
            d_u,
            d_delta,
            d_A.sum((0, 1)).t().to(ctx.dtype_of_A),
            d_B.sum(0).to(B.dtype),
            d_C.sum(0).to(C.dtype),
            _over_chunks(d_D, D),
            d_z,
            _over_chunks(d_bias, bias),
        )


def _over_chunks(parts: torch.Tensor | None, like: torch.Tensor | None) -> torch.Tensor | None:
    """Add the chunks' parts (batch, chunks, E) of the gradient of an optional input."""
    return None if parts is None or like is None else parts.sum((0, 1)).to(like.dtype)


def _or(tensor: torch.Tensor | None, stand_in: torch.Tensor) -> torch.Tensor:
    """Return what a kernel gets for a tensor that is absent: a pointer it does not follow."""
    return stand_in if tensor is None else tensor


def _on_device(tensor: torch.Tensor) -> contextlib.AbstractContextManager:
    """Triton launches on the current device, which need not be the tensors'."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
