"""Which scan backends exist, which of them work on this machine, and which one a call gets.

A backend is a function `(u, delta, A, B, C, D, z, delta_bias) -> y` on tensors already checked by the API.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable

import torch

from vivim.errors import VivimError

ScanFunction = Callable[..., torch.Tensor]

ENVIRONMENT_VARIABLE = "VIVIM_SCAN"
_HOME_OF = {
    "triton": ("vivim.scan.triton_scan", "triton_scan"),
    "numba": ("vivim.scan.numba_scan", "numba_scan"),
    "torch": ("vivim.scan.torch_chunked", "torch_scan"),
    "oracle": ("vivim.scan.oracle", "oracle_scan"),
}
_log = logging.getLogger(__name__)


class ScanBackendError(VivimError, ValueError):
    """The scan backend asked for does not exist or cannot run these tensors on this machine."""


def available_backends() -> tuple[str, ...]:
    """Name the scan backends that work on this machine, best first."""
    names = []
    if torch.cuda.is_available() and _triton_works():
        names.append("triton")
    if _numba_works():
        names.append("numba")
    return (*names, "torch", "oracle")


def load_backend(name: str) -> ScanFunction:
    """Import a backend and return its function.

    Raises
    ------
    ScanBackendError
        No backend has that name, or the package it is written in is not installed.
    """
    if name not in _HOME_OF:
        known = ", ".join(repr(known) for known in _HOME_OF)
        raise ScanBackendError(f"There is no scan backend {name!r}. Choose 'auto' or one of {known}.")
    if name in ("numba", "triton") and importlib.util.find_spec(name) is None:
        raise ScanBackendError(
            f"The scan backend {name!r} needs the package {name}. Install it or choose the backend 'torch'."
        )
    module, function = _HOME_OF[name]
    return getattr(importlib.import_module(module), function)


def choose_backend(backend: str, u: torch.Tensor) -> str:
    """Pick the backend of one call: the argument, else the variable VIVIM_SCAN, else by device.

    By device: Triton on CUDA and numba on the CPU where they work, PyTorch everywhere else. Tensors in
    float64 go to PyTorch, the only fast backend that keeps their precision.
    """
    if backend == "auto":
        backend = os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower() or "auto"
    if backend != "auto":
        return backend
    if u.dtype == torch.float64:
        return "torch"
    if u.device.type == "cuda" and _triton_works():
        return "triton"
    if u.device.type == "cpu" and _numba_works():
        return "numba"
    return "torch"


@functools.cache
def _numba_works() -> bool:
    """Whether numba can be imported next to the installed NumPy."""
    try:
        importlib.import_module("numba")
    except ImportError as error:
        _log.info("The numba scan is not used: %s", error)
        return False
    return True


@functools.cache
def _triton_works() -> bool:
    """Whether a tiny scan compiles and runs, forward and backward.

    Triton may import and still lack a C compiler or a driver it can use.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            row = torch.ones(1, 64, 32, device="cuda", requires_grad=True)
            vector = torch.ones(32, device="cuda")
            rates = -torch.ones(32, 32, device="cuda")
            y = load_backend("triton")(row, row, rates, row, row, vector, row, vector)
            (gradient,) = torch.autograd.grad(y.sum(), row)
        return bool(torch.isfinite(gradient).all())
    except Exception as error:  # Triton raises types of its own, the driver's and the C compiler's
        _log.warning("The Triton scan is not used, the slower PyTorch one is: %s", error)
        return False
