"""The public face of the scan: checks shapes, picks a backend, returns the output in the input's dtype.

Takes float tensors (float16, bfloat16, float32, float64) of one device; every backend gives the same numbers.
"""

from __future__ import annotations

import torch

from vivim.scan.backends import READ_BY_ORDER, choose_backend, load_backend
from vivim.scan.conv import causal_conv
from vivim.scan.precision import without_autocast
from vivim.scan.token_orders import check_order, inverse_order


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    backend: str = "auto",
    order: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run the selective state space recurrence over a sequence, differentiable in every tensor given.

    With ``dt = softplus(delta + delta_bias)``, per channel e and state n::

        s[l] = exp(dt[l, e] A[e, n]) s[l - 1] + dt[l, e] B[l, n] u[l, e],    s[-1] = 0
        y[l, e] = sum over n of C[l, n] s[l] + D[e] u[l, e],                 output = y SiLU(z)

    Parameters
    ----------
    u, delta : torch.Tensor
        Input and step size before the softplus, shape (batch, L, E), any float dtype.
    A : torch.Tensor
        Decay rates, shape (E, N), negative; positive rates may overflow.
    B, C : torch.Tensor
        Input and output weights of the states, shape (batch, L, N).
    D : torch.Tensor, optional
        Skip weights, shape (E,).
    z : torch.Tensor, optional
        Gate, shape (batch, L, E).
    delta_bias : torch.Tensor, optional
        Added to `delta` inside the softplus, shape (E,).
    backend : str
        "auto", "triton" or "mamba-ssm" (CUDA), "numba" (CPU), "torch" or "oracle" (slow, float64). "auto" follows
        the environment variable VIVIM_SCAN, then the tensors' device; where several work there, the one that was
        faster when first asked.
    order : torch.Tensor, optional
        Permutation of the tokens, shape (L,), int64, on the device of `u`: the recurrence visits token ``order[0]``,
        then ``order[1]`` and so on, while inputs and output stay where they lie. As they lie by default.

    Returns
    -------
    torch.Tensor
        Shape (batch, L, E), dtype of `u`. The recurrence runs in float32 (float64 in "oracle", and in "torch"
        when `u` is float64), under autocast too.

    Raises
    ------
    ValueError
        Shapes do not fit together, or a tensor is not of a float dtype.
    ScanBackendError
        The backend is unknown, not installed, or cannot run on the tensors' device.

    References
    ----------
    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752.
    """
    _check(u, delta, A, B, C, D, z, delta_bias)
    if order is not None:
        check_order(order, u)
    name = choose_backend(backend, u, A.shape[1])
    scan = load_backend(name)
    if u.numel() == 0:
        return u.clone()
    with without_autocast(u.device):
        if order is None or name in READ_BY_ORDER:
            extra = () if order is None else (order,)
            return scan(u, delta, A, B, C, D, z, delta_bias, *extra).to(u.dtype)
        visited = (None if x is None else x[:, order] for x in (u, delta, B, C, z))
        u_, delta_, B_, C_, z_ = visited
        y = scan(u_, delta_, A, B_, C_, D, z_, delta_bias).to(u.dtype)
        return y[:, inverse_order(order)]


def warm_up(device: torch.device | str = "cpu") -> None:
    """Compile in advance what the network's scans will use on a device, forward and backward."""
    values = torch.ones(1, 2, 16, device=device, requires_grad=True)
    vector = torch.ones(16, device=device, requires_grad=True)
    rates = -torch.ones(16, 16, device=device)
    u = causal_conv(values, torch.ones(16, 4, device=device), vector)
    selective_scan(u, values, rates, values, values, vector, values, vector).sum().backward()


def _check(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None,
    z: torch.Tensor | None,
    delta_bias: torch.Tensor | None,
) -> None:
    if u.ndim != 3:
        raise ValueError(f"u must have the shape (batch, L, E), but it has {tuple(u.shape)}.")
    if A.ndim != 2:
        raise ValueError(f"A must have the shape (E, N), but it has {tuple(A.shape)}.")
    batch, length, width = u.shape
    states = A.shape[1]
    if states == 0:
        raise ValueError("A must hold at least one state per channel, but its shape (E, N) has N = 0.")
    sequence, weights = (batch, length, width), (batch, length, states)
    wanted = (
        ("delta", delta, "(batch, L, E)", sequence),
        ("A", A, "(E, N)", (width, states)),
        ("B", B, "(batch, L, N)", weights),
        ("C", C, "(batch, L, N)", weights),
        ("D", D, "(E,)", (width,)),
        ("z", z, "(batch, L, E)", sequence),
        ("delta_bias", delta_bias, "(E,)", (width,)),
    )
    for name, tensor, letters, shape in (("u", u, "(batch, L, E)", sequence), *wanted):
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            found = tuple(tensor.shape)
            raise ValueError(f"{name} must have the shape {letters} = {shape}, but it has {found}.")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be of a float dtype, but it is {tensor.dtype}.")
        if tensor.device != u.device:
            raise ValueError(f"{name} is on {tensor.device}, but u is on {u.device}: use one device.")
