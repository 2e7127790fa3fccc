"""The scan on the CPU, forward and backward, by the compiled kernels of `scan_kernels`.

Takes CPU tensors of any float dtype, computed in float32. Channels are padded to a multiple of 16.
"""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vivim.scan.backends import ScanBackendError
from vivim.scan.cpu import scan_kernels as kernels
from vivim.scan.cpu.simd import COUNT
from vivim.scan.cpu.thread_pool import run_each, shares
from vivim.scan.inputs import ScanInputs


def numba_scan(inputs: ScanInputs, order: torch.Tensor | None = None) -> torch.Tensor:
    """Run the scan on the CPU, with a result in float32. Raises `ScanBackendError` if the tensors are elsewhere."""
    u, delta, A, B, C, D, z, bias = inputs
    if u.device.type != "cpu":
        raise ScanBackendError(
            f"The scan backend 'numba' needs tensors on the CPU, not on {u.device}. "
            "Move them there or choose the backend 'auto'."
        )
    width = u.shape[-1]
    nothing = torch.zeros(width)
    y = _NumbaScan.apply(
        padded(u),
        padded(delta),
        padded(A.t()).t().contiguous(),
        B.float().contiguous(),
        C.float().contiguous(),
        padded(nothing if D is None else D),
        None if z is None else padded(z),
        padded(nothing if bias is None else bias),
        torch.arange(u.shape[1]) if order is None else order.contiguous(),
    )
    return y[..., :width]


def padded(values: torch.Tensor) -> torch.Tensor:
    """Fill the last axis up with zeros to whole `Lanes`, as contiguous float32."""
    padding = -values.shape[-1] % COUNT
    return (F.pad(values.float(), (0, padding)) if padding else values.float()).contiguous()


class _NumbaScan(torch.autograd.Function):
    """`selective_scan` on contiguous float32 tensors with padded channels and an order of the tokens."""

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
        order: torch.Tensor,
    ) -> torch.Tensor:
        batch, length, width = u.shape
        keep = any(ctx.needs_input_grad)
        tiles = -(-length // kernels.STEPS) if keep else 0
        states = -(-A.shape[1] // kernels.GROUP) * kernels.GROUP
        y = torch.empty_like(u)
        checkpoints = torch.empty(batch, tiles, width // COUNT, states, COUNT)
        arrays = [array_of(x) for x in (u, delta, A, B, C, D, u if z is None else z, bias)]
        outputs = (z is not None, array_of(order), array_of(y), array_of(checkpoints), keep)
        run_each(lambda _, *share: kernels.forward(*arrays, *outputs, *share), shares(batch, width // COUNT))
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, order, checkpoints)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        u, delta, A, B, C, D, z, bias, order, checkpoints = ctx.saved_tensors
        batch, _, width = u.shape
        work = shares(batch, width // COUNT)
        d_u, d_delta = torch.empty_like(u), torch.empty_like(u)
        d_z = None if z is None else torch.empty_like(z)
        d_A, d_D, d_bias = u.new_empty(batch, *A.shape), u.new_empty(batch, width), u.new_empty(batch, width)
        d_B, d_C = B.new_zeros(len(work), *B.shape), C.new_zeros(len(work), *C.shape)
        inputs = [
            array_of(x) for x in (gradient.contiguous(), u, delta, A, B, C, D, u if z is None else z, bias)
        ]
        whole = [array_of(x) for x in (d_u, d_delta, d_u if d_z is None else d_z, d_A)]
        of_parts, sums = (array_of(d_B), array_of(d_C)), (array_of(d_D), array_of(d_bias))
        gated = z is not None, array_of(order), array_of(checkpoints)

        def run(number: int, *share: int) -> None:
            mine = [x[number] for x in of_parts]
            kernels.backward(*inputs, *gated, *whole, *mine, *sums, *share)

        run_each(run, work)
        return d_u, d_delta, d_A.sum(0), d_B.sum(0), d_C.sum(0), d_D.sum(0), d_z, d_bias.sum(0), None


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a CPU tensor, for a kernel."""
    return tensor.detach().numpy()
