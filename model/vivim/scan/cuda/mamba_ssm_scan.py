"""The scan by the CUDA kernels of the package mamba-ssm, where it is installed and a trial call of it succeeds.

Takes CUDA tensors of any float dtype. Those kernels want channels first, which costs a transposed copy of each input.
"""

import torch

from vivim.scan.backends import ScanBackendError
from vivim.scan.inputs import ScanInputs

_MOST_STATES = 256  # more than this its kernels refuse


def mamba_ssm_scan(inputs: ScanInputs) -> torch.Tensor:
    """Run the scan by `mamba_ssm`, with a result in the dtype of `u`."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    u, delta, A, B, C, D, z, delta_bias = inputs
    if not u.is_cuda or A.shape[1] > _MOST_STATES:
        raise ScanBackendError(
            f"The scan backend 'mamba-ssm' needs tensors on a CUDA device (here: {u.device}) and at most "
            f"{_MOST_STATES} states (here: {A.shape[1]}). Choose the backend 'auto'."
        )
    u_, delta_, B_, C_ = (x.to(u.dtype).transpose(1, 2).contiguous() for x in (u, delta, B, C))
    gate = None if z is None else z.to(u.dtype).transpose(1, 2).contiguous()
    skip, bias = (None if x is None else x.float() for x in (D, delta_bias))
    y = selective_scan_fn(u_, delta_, A.float(), B_, C_, skip, gate, bias, delta_softplus=True)
    return y.transpose(1, 2)
