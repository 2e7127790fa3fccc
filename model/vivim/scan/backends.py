"""The scan backends: which exist, which work on this machine, and which one a call gets.

A backend is a function of checked `ScanInputs`. Those named in `READ_BY_ORDER` take the order of the tokens as one more
argument. A CUDA package counts as working when a small call of it succeeds: that it can be imported says little.
"""

import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable

import torch

from vivim.errors import VivimError
from vivim.scan.inputs import ScanInputs

ScanFunction = Callable[..., torch.Tensor]

ENVIRONMENT_VARIABLE = "VIVIM_SCAN"
_FUNCTION_OF = {
    "triton": ("vivim.scan.cuda.triton_scan", "triton_scan"),
    "mamba-ssm": ("vivim.scan.cuda.mamba_ssm_scan", "mamba_ssm_scan"),
    "numba": ("vivim.scan.cpu.numba_scan", "numba_scan"),
    "torch": ("vivim.scan.torch_scan", "torch_scan"),
}
_PACKAGE_OF = {"triton": "triton", "mamba-ssm": "mamba_ssm", "numba": "numba"}
READ_BY_ORDER = frozenset({"numba"})
"""Backends that read tokens by index. The others are given reordered copies."""

_log = logging.getLogger(__name__)


class ScanBackendError(VivimError, ValueError):
    """The scan backend asked for does not exist or cannot run these tensors on this machine."""


def available_backends() -> tuple[str, ...]:
    """Name the scan backends that work on this machine, best first."""
    names: list[str] = []
    if torch.cuda.is_available():
        names.extend(_working_on_cuda())
    if numba_works():
        names.append("numba")
    return (*names, "torch")


def load_backend(name: str) -> ScanFunction:
    """Import a backend and return its function, or raise a `ScanBackendError` that says what is missing."""
    if name not in _FUNCTION_OF:
        known = ", ".join(repr(known) for known in _FUNCTION_OF)
        raise ScanBackendError(f"There is no scan backend {name!r}. Choose 'auto' or one of {known}.")
    package = _PACKAGE_OF.get(name)
    if package and importlib.util.find_spec(package) is None:
        raise ScanBackendError(
            f"The scan backend {name!r} needs the package {package}. Install it or choose the backend 'torch'."
        )
    module, function = _FUNCTION_OF[name]
    return getattr(importlib.import_module(module), function)


def choice_from_environment() -> str:
    """Return the backend named by the variable VIVIM_SCAN, or "auto"."""
    return os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower() or "auto"


def compiled_for_cpu() -> bool:
    """Whether numba's kernels work and VIVIM_SCAN names no other backend."""
    return choice_from_environment() in ("auto", "numba") and numba_works()


def choose_backend(backend: str, u: torch.Tensor) -> str:
    """Choose the backend of one call by the argument, else the variable VIVIM_SCAN, else the device.

    By device: numba on the CPU where it works, Triton or else mamba-ssm on CUDA, PyTorch everywhere else. Tensors in
    float64 go to PyTorch, the only backend that keeps their precision.
    """
    if backend == "auto":
        backend = choice_from_environment()
    if backend != "auto":
        return backend
    if u.dtype == torch.float64:
        return "torch"
    if u.device.type == "cuda":
        return (*_working_on_cuda(), "torch")[0]
    if u.device.type == "cpu" and numba_works():
        return "numba"
    return "torch"


def _working_on_cuda() -> tuple[str, ...]:
    return tuple(name for name in ("triton", "mamba-ssm") if _works_on_cuda(name))


@functools.cache
def numba_works() -> bool:
    """Whether numba can be imported next to the installed NumPy."""
    try:
        importlib.import_module("numba")
    except ImportError as error:
        _log.info("The numba scan is not used: %s", error)
        return False
    return True


@functools.cache
def _works_on_cuda(name: str) -> bool:
    """Whether a backend is installed and a tiny scan of it runs on CUDA, forward and backward.

    Triton may be imported and still lack a C compiler or a driver. The CUDA extension of mamba-ssm may be absent, or
    built for another PyTorch or without the kernels of Mamba 1.
    """
    if importlib.util.find_spec(_PACKAGE_OF[name]) is None:
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            row = torch.ones(1, 64, 32, device="cuda", requires_grad=True)
            vector = torch.ones(32, device="cuda")
            rates = -torch.ones(32, 32, device="cuda")
            y = load_backend(name)(ScanInputs(row, row, rates, row, row, vector, row, vector))
            (gradient,) = torch.autograd.grad(y.sum(), row)
        return bool(torch.isfinite(gradient).all())
    except Exception as error:  # each package raises types of its own, the driver's and the C compiler's
        _log.warning("The scan backend %r is not used: %s", name, error)
        return False


@functools.cache
def causal_conv1d_works() -> bool:
    """Whether the package causal-conv1d runs on CUDA, forward and backward."""
    if importlib.util.find_spec("causal_conv1d") is None:
        return False
    try:
        from causal_conv1d import causal_conv1d_fn

        with torch.inference_mode(False), torch.enable_grad():
            x = torch.ones(1, 16, 32, device="cuda", requires_grad=True)
            y = causal_conv1d_fn(
                x, torch.ones(16, 4, device="cuda"), torch.ones(16, device="cuda"), activation="silu"
            )
            (gradient,) = torch.autograd.grad(y.sum(), x)
        return bool(torch.isfinite(gradient).all())
    except Exception as error:  # as above
        _log.warning("causal-conv1d is not used: %s", error)
        return False
