"""The scan in plain PyTorch, for any device: sequences are cut into chunks that advance together.

Takes tensors of any float dtype and length. Pass one runs every chunk from a zero state and hands the chunks' last
states along the sequence. Pass two runs every chunk again from its right state, in place, and reads the output. The
backward pass keeps only the states at chunk starts and recomputes the others.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vivim.scan.inputs import ScanInputs, without_autocast

_LONG_SEQUENCE = 4096
_STATES_AT_ONCE = 64 * 2**20  # numbers kept by the backward at a time: 256 MiB in float32


def torch_scan(inputs: ScanInputs) -> torch.Tensor:
    """Run the chunked scan, with a result in float32 or, if `u` is float64, in float64."""
    dtype = torch.float64 if inputs.u.dtype == torch.float64 else torch.float32
    u, delta, A, B, C = (x.to(dtype) for x in inputs[:5])
    D, z, bias = (None if x is None else x.to(dtype) for x in inputs[5:])
    step = F.softplus(delta if bias is None else delta + bias)
    y = _ChunkedScan.apply(step, step * u, A, B, C)
    if D is not None:
        y = y + D * u
    return y if z is None else y * F.silu(z)


class _ChunkedScan(torch.autograd.Function):
    """The recurrence s[l] = exp(step[l] A) s[l - 1] + drive[l] B[l] with y[l] = sum over n of C[l] s[l]."""

    @staticmethod
    def forward(
        ctx: Any, step: torch.Tensor, drive: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor
    ) -> torch.Tensor:
        cut = _Chunks(step.shape[0], step.shape[1])
        steps, drives, inputs, outputs = (cut.split(tensor) for tensor in (step, drive, B, C))
        state = step.new_zeros(cut.rows, *A.shape)
        scratch = torch.empty_like(state)
        for t in range(cut.size):
            _advance(state, scratch, steps[t], drives[t], A, inputs[t])
        starts = cut.carry(_chunk_decay(steps, A), state)
        state.copy_(starts)
        result = step.new_empty(cut.size, cut.rows, step.shape[2])
        for t in range(cut.size):
            _advance(state, scratch, steps[t], drives[t], A, inputs[t])
            torch.bmm(state, outputs[t].unsqueeze(-1), out=result[t].unsqueeze(-1))
        ctx.save_for_backward(step, drive, A, B, C, starts)
        return cut.join(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        step, drive, A, B, C, starts = ctx.saved_tensors
        batch, length, width = step.shape
        cut = _Chunks(batch, length)
        at_once = max(1, _STATES_AT_ONCE // (cut.size * cut.rows * A.shape[1]))
        with without_autocast(step.device):
            inputs, outputs = cut.split(B), cut.split(C)
            parts = []
            for first in range(0, width, at_once):
                block = slice(first, first + at_once)
                steps, drives, grads = (cut.split(x[..., block]) for x in (step, drive, gradient))
                start = starts[:, block]
                parts.append(_backward_block(cut, steps, drives, A[block], inputs, outputs, start, grads))
        d_step, d_drive, d_rates, d_inputs, d_outputs = zip(*parts, strict=True)
        return (
            cut.join(torch.cat(d_step, -1)),
            cut.join(torch.cat(d_drive, -1)),
            torch.cat(d_rates, 0),
            cut.join(sum(d_inputs[1:], d_inputs[0])),
            cut.join(sum(d_outputs[1:], d_outputs[0])),
        )


class _Chunks:
    """A batch of sequences cut into `rows` chunks of `size` steps, the last chunk of each sequence padded."""

    def __init__(self, batch: int, length: int) -> None:
        self.batch, self.length = batch, length
        self.size = min(length, 32 if length >= _LONG_SEQUENCE else 16)
        self.per_sequence = -(-length // self.size)
        self.rows = batch * self.per_sequence

    def split(self, values: torch.Tensor) -> torch.Tensor:
        """Reshape (batch, L, X) to (size, rows, X), padded with zeros, which leave a state unchanged."""
        padding = self.per_sequence * self.size - self.length
        if padding:
            values = F.pad(values, (0, 0, 0, padding))
        return values.reshape(self.rows, self.size, -1).transpose(0, 1).contiguous()

    def join(self, values: torch.Tensor) -> torch.Tensor:
        """(size, rows, X) back to (batch, L, X)."""
        return values.transpose(0, 1).reshape(self.batch, -1, values.shape[-1])[:, : self.length].contiguous()

    def carry(self, decay: torch.Tensor, last: torch.Tensor, reverse: bool = False) -> torch.Tensor:
        """States (rows, E, N) at each chunk's start (its end, in reverse) from the chunks' own last states."""
        decay, last = (x.view(self.batch, self.per_sequence, *x.shape[1:]) for x in (decay, last))
        starts = torch.empty_like(last)
        state = torch.zeros_like(last[:, 0])
        order = range(self.per_sequence)
        for chunk in reversed(order) if reverse else order:
            starts[:, chunk] = state
            state = torch.addcmul(last[:, chunk], decay[:, chunk], state)
        return starts.view(self.rows, *starts.shape[2:])


def _decay(step: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    return torch.exp(step.unsqueeze(-1) * A)


def _chunk_decay(steps: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    return _decay(steps.sum(0), A)


def _advance(
    state: torch.Tensor,
    scratch: torch.Tensor,
    step: torch.Tensor,
    drive: torch.Tensor,
    A: torch.Tensor,
    weights: torch.Tensor,
) -> None:
    """Take one step of all chunks, in place: `state` and `scratch` (rows, E, N), `weights` (rows, N)."""
    torch.mul(step.unsqueeze(-1), A, out=scratch).exp_()
    state.mul_(scratch).addcmul_(drive.unsqueeze(-1), weights.unsqueeze(1))


def _backward_block(
    cut: _Chunks,
    steps: torch.Tensor,
    drives: torch.Tensor,
    A: torch.Tensor,
    inputs: torch.Tensor,
    outputs: torch.Tensor,
    starts: torch.Tensor,
    grads: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Gradients of steps, drives, A, inputs and outputs for one block of channels, in their layouts."""
    states = _recompute(steps, drives, A, inputs, starts)
    adjoint = _adjoint_at_ends(cut, steps, A, outputs, grads)
    d_steps, d_drives = torch.empty_like(steps), torch.empty_like(drives)
    d_inputs, d_outputs = torch.empty_like(inputs), torch.empty_like(outputs)
    d_rates = torch.zeros_like(A)
    for t in reversed(range(cut.size)):
        adjoint.addcmul_(grads[t].unsqueeze(-1), outputs[t].unsqueeze(1))
        torch.bmm(grads[t].unsqueeze(1), states[t + 1], out=d_outputs[t].unsqueeze(1))
        torch.bmm(adjoint, inputs[t].unsqueeze(-1), out=d_drives[t].unsqueeze(-1))
        torch.bmm(drives[t].unsqueeze(1), adjoint, out=d_inputs[t].unsqueeze(1))
        adjoint.mul_(_decay(steps[t], A))
        through_decay = adjoint * states[t]
        torch.sum(through_decay * A, -1, out=d_steps[t])
        d_rates += torch.einsum("ken,ke->en", through_decay, steps[t])
    return d_steps, d_drives, d_rates, d_inputs, d_outputs


def _recompute(
    steps: torch.Tensor, drives: torch.Tensor, A: torch.Tensor, inputs: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    """All states of all chunks, (size + 1, rows, E, N), the chunks' starting states first."""
    size, rows, width = steps.shape
    states = steps.new_empty(size + 1, rows, width, A.shape[1])
    states[0] = starts
    for t in range(size):
        torch.mul(_decay(steps[t], A), states[t], out=states[t + 1])
        states[t + 1].addcmul_(drives[t].unsqueeze(-1), inputs[t].unsqueeze(1))
    return states


def _adjoint_at_ends(
    cut: _Chunks, steps: torch.Tensor, A: torch.Tensor, outputs: torch.Tensor, grads: torch.Tensor
) -> torch.Tensor:
    """Adjoint (rows, E, N) of each chunk's last state from the chunks after it."""
    adjoint = steps.new_zeros(cut.rows, *A.shape)
    for t in reversed(range(cut.size)):
        adjoint.addcmul_(grads[t].unsqueeze(-1), outputs[t].unsqueeze(1)).mul_(_decay(steps[t], A))
    return cut.carry(_chunk_decay(steps, A), adjoint, reverse=True)
