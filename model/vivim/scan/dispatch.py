"""The public function of the scan: check the tensors, choose a backend, run it.

Takes float tensors (float16, bfloat16, float32, float64) of one device. Every backend gives the same numbers.
"""

import torch

from vivim.scan.backends import READ_BY_ORDER, choose_backend, load_backend
from vivim.scan.inputs import ScanInputs, without_autocast
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
        "auto", "triton" or "mamba-ssm" (CUDA), "numba" (CPU) or "torch" (any device). "auto" follows the
        environment variable VIVIM_SCAN, then the tensors' device.
    order : torch.Tensor, optional
        Permutation of the tokens, shape (L,), int64, on the device of `u`: the recurrence visits token ``order[0]``,
        then ``order[1]`` and so on. Inputs and output stay where they lie in memory. By default the recurrence
        goes from the first token to the last.

    Returns
    -------
    torch.Tensor
        Shape (batch, L, E), dtype of `u`. The recurrence runs in float32, under autocast too. In "torch" it runs
        in float64 when `u` is float64.

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
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias)
    inputs.check()
    if order is not None:
        check_order(order, u)
    name = choose_backend(backend, u)
    scan = load_backend(name)
    if u.numel() == 0:
        return u.clone()
    with without_autocast(u.device):
        if order is None:
            return scan(inputs).to(u.dtype)
        if name in READ_BY_ORDER:
            return scan(inputs, order).to(u.dtype)
        return scan(inputs.in_order(order)).to(u.dtype)[:, inverse_order(order)]
