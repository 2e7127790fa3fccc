"""The tensors of one scan, the check that they fit together, their precision, and the order of their tokens.

Tokens lie in (t, y, x) order: frame after frame. An order is an int64 tensor (L,): the tokens' places in memory, in the
order visited. Reading by index spares the flips and transposed copies of a clip that changing the order would take.
"""

from __future__ import annotations

import contextlib
import functools
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


@functools.lru_cache(maxsize=64)
def backward_order(length: int, device: torch.device) -> Tensor:
    """Order from the last token to the first."""
    with torch.inference_mode(False):
        return torch.arange(length - 1, -1, -1, device=device)


@functools.lru_cache(maxsize=64)
def temporal_order(frames: int, places: int, device: torch.device) -> Tensor:
    """Order (y, x, t): all frames of one place, then all frames of the next place."""
    with torch.inference_mode(False):
        return torch.arange(frames * places, device=device).view(frames, places).t().reshape(-1)


def inverse_order(order: Tensor) -> Tensor:
    """Order that undoes another: ``x[order][inverse_order(order)]`` is ``x``."""
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def check_order(order: Tensor, u: Tensor) -> None:
    """Raise `ValueError` unless `order` (L,) fits the sequences ``u`` (batch, L, E).

    That every token occurs exactly once is checked on the CPU alone, where the check costs nothing beside the scan.
    """
    length = u.shape[1]
    if order.dtype != torch.int64 or tuple(order.shape) != (length,) or order.device != u.device:
        raise ValueError(
            f"order must be int64 of shape (L,) = ({length},) on {u.device}, "
            f"but it is {order.dtype} {tuple(order.shape)} on {order.device}."
        )
    if order.device.type == "cpu" and not _is_permutation(order):
        raise ValueError("order must name every token exactly once.")


def _is_permutation(order: Tensor) -> bool:
    seen = torch.zeros(len(order), dtype=torch.bool)
    if len(order) and (int(order.min()) < 0 or int(order.max()) >= len(order)):
        return False
    seen[order] = True
    return bool(seen.all())
