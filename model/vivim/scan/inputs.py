"""The tensors of one scan, the check that they fit together, and the precision they are computed in."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch
from torch import Tensor


class ScanInputs(NamedTuple):
    """The tensors that `vivim.scan.selective_scan` describes, as every backend takes them."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None

    def check(self) -> None:
        """Raise `ValueError` unless shapes, dtypes and devices fit together."""
        if self.u.ndim != 3:
            raise ValueError(f"u must have the shape (batch, L, E), but it has {tuple(self.u.shape)}.")
        if self.A.ndim != 2:
            raise ValueError(f"A must have the shape (E, N), but it has {tuple(self.A.shape)}.")
        (batch, length, width), states = self.u.shape, self.A.shape[1]
        if states == 0:
            raise ValueError("A must hold at least one state per channel, but its shape (E, N) has N = 0.")
        sequence = "(batch, L, E)", (batch, length, width)
        weights = "(batch, L, N)", (batch, length, states)
        rates, channels = ("(E, N)", (width, states)), ("(E,)", (width,))
        wanted = (sequence, sequence, rates, weights, weights, channels, sequence, channels)
        for name, tensor, (letters, shape) in zip(self._fields, self, wanted, strict=True):
            if tensor is None:
                continue
            if tuple(tensor.shape) != shape:
                found = tuple(tensor.shape)
                raise ValueError(f"{name} must have the shape {letters} = {shape}, but it has {found}.")
            if not tensor.is_floating_point():
                raise ValueError(f"{name} must be of a float dtype, but it is {tensor.dtype}.")
            if tensor.device != self.u.device:
                raise ValueError(
                    f"{name} is on {tensor.device}, but u is on {self.u.device}: use one device."
                )

    def in_order(self, order: Tensor) -> ScanInputs:
        """Copy the tokens of all sequences into an order ``(L,)``."""
        u, delta, B, C = (x[:, order] for x in (self.u, self.delta, self.B, self.C))
        z = None if self.z is None else self.z[:, order]
        return self._replace(u=u, delta=delta, B=B, C=C, z=z)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context in which autocast is off, so that the recurrence is not computed in half precision."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
