"""The scan on CUDA, forward and backward, by the Triton kernels of `triton_kernels`.

Takes CUDA tensors of float16, bfloat16, float32 or float64 (computed in float32); with TRITON_INTERPRET=1 in the
environment before this module is imported, CPU tensors too, slowly, for tests. A sequence is cut into chunks that run
side by side, so that a single long sequence fills the GPU.
"""

import contextlib
import functools
import os
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch.autograd.function import once_differentiable

from vivim.scan.backends import ScanBackendError
from vivim.scan.cuda import triton_kernels as kernels
from vivim.scan.inputs import ScanInputs

_BLOCK_E = 32
_WARPS = 1  # a warp of 32 threads owns 32 channels
_CHUNK_SIZES = (64, 32)  # multiples of kernels.GROUP
_ENOUGH_PROGRAMS = 1024  # about 8 warps for each of the 132 multiprocessors of an H100
_CARRY_ROWS, _CARRY_COLUMNS = 64, 32  # chunks and states that a program takes at a time between the passes


def triton_scan(inputs: ScanInputs) -> torch.Tensor:
    """Run the scan on the GPU, with a result in the dtype of `u`."""
    if not inputs.u.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ScanBackendError(
            f"The scan backend 'triton' needs tensors on a CUDA device, not on {inputs.u.device}. "
            "Move them there or choose the backend 'auto'."
        )
    tensors = tuple(None if x is None else x.contiguous() for x in inputs)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
        return _TritonScan.apply(*tensors)
    return _forward(ScanInputs(*tensors))[0]  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Grid:
    """Distribution of a scan of (batch, L, E) with N states over programs."""

    chunk: int
    programs: int
    numbers: tuple[int, ...]
    """L, E, N, chunks, blocks: what the kernels over chunks share."""
    block: tuple[int, int]
    """BLOCK_N, BLOCK_E"""
    carriers: int
    carry_numbers: tuple[int, ...]
    """E, N, chunks, blocks of the kernel between them."""
    blocks: int
    states_shape: tuple[int, ...]
    """(batch, chunks, N, E)"""
    groups_shape: tuple[int, ...]
    """(batch, chunks, groups of steps in a chunk, N, E)"""
    shared_shape: tuple[int, ...]
    """(batch x chunks, N + 2, E): parts of the gradients of A, D and the bias"""
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
    return _Grid(
        chunk=chunk,
        programs=rows * chunks,
        numbers=(length, width, states, chunks, blocks),
        block=(triton.next_power_of_2(states), _BLOCK_E),
        carriers=batch * carry_blocks,
        carry_numbers=(width, states, chunks, carry_blocks),
        blocks=blocks,
        states_shape=(batch, chunks, states, width),
        groups_shape=(batch, chunks, chunk // kernels.GROUP, states, width),
        shared_shape=(batch * chunks, states + 2, width),
        channels_shape=(batch, chunks, width),
    )


def _grid(inputs: ScanInputs) -> _Grid:
    return _grid_of(*inputs.u.shape, inputs.A.shape[1])


def _given(inputs: ScanInputs) -> tuple[bool, bool, bool]:
    """Whether there is a bias, D and z."""
    return inputs.delta_bias is not None, inputs.D is not None, inputs.z is not None


def _pointers(inputs: ScanInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bias, D and z, or for an absent one a pointer that the kernels do not follow."""
    return _or(inputs.delta_bias, inputs.u), _or(inputs.D, inputs.u), _or(inputs.z, inputs.u)


def _forward(inputs: ScanInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output (batch, L, E), the states that chunks start from, and their summed step sizes."""
    u, grid = inputs.u, _grid(inputs)
    bias, D, z = _pointers(inputs)
    has_bias, has_D, has_z = _given(inputs)
    own, starts = (_float32(grid.states_shape, u) for _ in range(2))
    total, y = _float32(grid.channels_shape, u), torch.empty_like(u)
    sequence = (u, inputs.delta, bias, inputs.A, inputs.B)
    with _on_device(u):
        launch(
            kernels.chunk_states, grid.programs, (*sequence, own, total), grid.numbers,
            (has_bias, grid.chunk, *grid.block), _WARPS,
        )  # fmt: skip
        _carry(grid, own, total, inputs.A, starts, reverse=False)
        launch(
            kernels.chunk_outputs, grid.programs, (*sequence, inputs.C, D, z, starts, y), grid.numbers,
            (has_bias, has_D, has_z, grid.chunk, *grid.block), _WARPS,
        )  # fmt: skip
    return y, starts, total


def _carry(
    grid: _Grid, own: torch.Tensor, total: torch.Tensor, A: torch.Tensor, result: torch.Tensor, reverse: bool
) -> None:
    tensors, constants = (own, total, A, result), (reverse, _CARRY_ROWS, _CARRY_COLUMNS)
    launch(kernels.carry, grid.carriers, tensors, grid.carry_numbers, constants, _WARPS)


class _TritonScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor | None) -> torch.Tensor:
        y, starts, total = _forward(ScanInputs(*tensors))  # type: ignore[arg-type]
        ctx.save_for_backward(*tensors, starts, total)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *tensors, starts, total = ctx.saved_tensors
        inputs, gradient = ScanInputs(*tensors), gradient.contiguous()
        (u, delta, A, B, C, *_), grid = inputs, _grid(inputs)
        batch = u.shape[0]
        bias, D, z = _pointers(inputs)
        has_bias, has_D, has_z = _given(inputs)
        adjoints, scratch = _float32(grid.states_shape, u), _float32(grid.groups_shape, u)
        own = scratch  # the chunks' own adjoints are read before the states between them are kept there
        d_u, d_delta = torch.empty_like(u), torch.empty_like(delta)
        d_z = torch.empty_like(z) if has_z else None
        weights_parts = _float32((2, grid.blocks, *B.shape), u)
        d_B, d_C = weights_parts.unbind()
        d_shared = _float32(grid.shared_shape, u)
        with _on_device(u):
            launch(
                kernels.chunk_adjoints, grid.programs, (gradient, delta, bias, A, C, z, own), grid.numbers,
                (has_bias, has_z, grid.chunk, *grid.block), _WARPS,
            )  # fmt: skip
            _carry(grid, own, total, A, adjoints, reverse=True)
            launch(
                kernels.chunk_gradients, grid.programs,
                (gradient, u, delta, bias, A, B, C, D, z, starts, adjoints, scratch,
                 d_u, d_delta, _or(d_z, u), d_B, d_C, d_shared),
                (*grid.numbers, batch), (has_bias, has_D, has_z, grid.chunk, *grid.block), _WARPS,
            )  # fmt: skip
        d_B, d_C = weights_parts.sum(1).unbind()
        d_A, d_D, d_bias = d_shared.sum(0).split((A.shape[1], 1, 1))
        return (
            d_u,
            d_delta,
            d_A.t().to(A.dtype),
            d_B.to(B.dtype),
            d_C.to(C.dtype),
            None if inputs.D is None else d_D[0].to(D.dtype),
            d_z,
            None if inputs.delta_bias is None else d_bias[0].to(bias.dtype),
        )


def _float32(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """New tensor on the device of `like`."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _or(tensor: torch.Tensor | None, stand_in: torch.Tensor) -> torch.Tensor:
    """Return the tensor, or for an absent one a pointer that the kernel does not follow."""
    return stand_in if tensor is None else tensor


def _on_device(tensor: torch.Tensor) -> contextlib.AbstractContextManager:
    """Return a context in which a tensor's device is the current one, on which Triton launches."""
    if not tensor.is_cuda or tensor.get_device() == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(tensor.device)


_ALIGNMENT = 16  # bytes; pointers that are multiples of it are compiled to wider loads
_MOST_KEPT = 512
_compiled: dict[tuple[Any, ...], Any] = {}


def launch(
    kernel: Any,
    programs: int,
    tensors: tuple[torch.Tensor, ...],
    numbers: tuple[int, ...],
    constants: tuple[int | bool, ...],
    warps: int,
) -> None:
    """Run `programs` programs of a kernel, of so many warps each, on the current device.

    The kernel takes by position the tensors, all on that device, the numbers, and the constants (``tl.constexpr``).
    """
    grid = (programs, 1, 1)
    addresses = [t.data_ptr() for t in tensors]
    if any(address % _ALIGNMENT for address in addresses):  # rare, so left to Triton
        kernel[grid](*tensors, *numbers, *constants, num_warps=warps)
        return
    key = (kernel, programs, tensors[0].device, *[t.dtype for t in tensors], numbers, constants, warps)
    known = _compiled.get(key)
    if known is not None:  # an address needs no look at the tensor behind it
        known(*addresses, *numbers, *constants)
        return
    made = kernel[grid](*tensors, *numbers, *constants, num_warps=warps)
    if made is not None and len(_compiled) < _MOST_KEPT:  # None where it was interpreted
        _compiled[key] = made[grid]
