"""The scan as its formula says, one step at a time in float64: what the fast backends are tested against.

Takes tensors of any device with float64 and any float dtype; far too slow for anything but tests.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def oracle_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
) -> torch.Tensor:
    """Run the recurrence by a plain loop; shapes as in `selective_scan`, result in float64."""
    u, delta, A, B, C = (tensor.double() for tensor in (u, delta, A, B, C))
    step = F.softplus(delta if delta_bias is None else delta + delta_bias.double())
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(step[:, t, :, None] * A)
        state = decay * state + (step[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1))
    y = torch.stack(outputs, dim=1)
    if D is not None:
        y = y + D.double() * u
    return y if z is None else y * F.silu(z.double())
