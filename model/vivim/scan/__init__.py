"""The selective state space scan of Vivim, with one backend per kind of machine behind one function.

`selective_scan` takes float tensors of any device; numba and Triton are loaded only when
a backend needs them.
"""

from vivim.scan.backends import ScanBackendError, available_backends
from vivim.scan.dispatch import causal_conv, selective_scan
from vivim.scan.inputs import backward_order, temporal_order

__all__ = [
    "ScanBackendError",
    "available_backends",
    "backward_order",
    "causal_conv",
    "selective_scan",
    "temporal_order",
]
