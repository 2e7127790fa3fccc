"""Keeps the recurrence in its own precision: the scan must not run in half precision under autocast."""

from __future__ import annotations

import contextlib

import torch


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context in which autocast is off for a device; entering none is quicker where it is off already."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def working_dtype(u: torch.Tensor) -> torch.dtype:
    """Return the dtype of the recurrence for an input: float64 stays, everything else runs in float32."""
    return torch.float64 if u.dtype == torch.float64 else torch.float32
