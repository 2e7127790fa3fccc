"""Which backend a call gets, what a wrong call is told, and that nothing heavy is imported for it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from vivim.errors import VivimError
from vivim.scan import ScanBackendError, available_backends, selective_scan
from vivim.scan.backends import choose_backend


@pytest.fixture(autouse=True)
def no_choice_from_outside(monkeypatch):
    monkeypatch.delenv("VIVIM_SCAN", raising=False)


def run_python(code: str, **environment: str) -> str:
    without = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_available_backends_all_work(inputs):
    names = available_backends()
    assert names[-1] == "torch"
    device = "cuda" if names[0] == "triton" else "cpu"
    for name in names:
        values = inputs(1, 3, 2, 2, device=device if name == "triton" else "cpu")
        assert torch.isfinite(selective_scan(**values, backend=name)).all()


def test_the_cpu_gets_numba():
    pytest.importorskip("numba", reason="numba is not installed")
    assert choose_backend("auto", torch.zeros(1)) == "numba"


def test_float64_and_other_devices_get_pytorch():
    assert choose_backend("auto", torch.zeros(1, dtype=torch.float64)) == "torch"
    assert choose_backend("auto", torch.zeros(1, device="meta")) == "torch"


def test_environment_chooses_unless_the_call_does(monkeypatch):
    monkeypatch.setenv("VIVIM_SCAN", "Torch")
    assert choose_backend("auto", torch.zeros(1)) == "torch"
    assert choose_backend("numba", torch.zeros(1)) == "numba"
    monkeypatch.setenv("VIVIM_SCAN", "auto")
    assert choose_backend("auto", torch.zeros(1, dtype=torch.float64)) == "torch"


def test_unknown_backend(monkeypatch, inputs):
    values = inputs(1, 3, 2, 2)
    with pytest.raises(ScanBackendError, match=r"no scan backend 'cuda9'.*'numba'"):
        selective_scan(**values, backend="cuda9")
    monkeypatch.setenv("VIVIM_SCAN", "fast")
    with pytest.raises(VivimError, match="no scan backend 'fast'"):
        selective_scan(**values)


def test_backend_of_another_device(inputs):
    pytest.importorskip("numba", reason="numba is not installed")
    values = {k: v.detach().to("meta") for k, v in inputs(1, 3, 2, 2).items()}
    with pytest.raises(ScanBackendError, match="needs tensors on the CPU"):
        selective_scan(**values, backend="numba")


def test_triton_on_the_cpu_is_refused():
    pytest.importorskip("triton", reason="triton is not installed")
    message = run_python(
        "import torch; from vivim.scan import selective_scan, ScanBackendError\n"
        "x = torch.zeros(1, 2, 2)\n"
        "try: selective_scan(x, x, x[0], x, x, backend='triton')\n"
        "except ScanBackendError as error: print(error)"
    )
    assert "needs tensors on a CUDA device" in message


def test_missing_package_is_named(monkeypatch, inputs):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "triton" else find_spec(name)
    )
    with pytest.raises(ScanBackendError, match="needs the package triton"):
        selective_scan(**inputs(1, 3, 2, 2), backend="triton")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("u", (3, 4), r"u must have the shape \(batch, L, E\)"),
        ("A", (4,), r"A must have the shape \(E, N\)"),
        ("A", (4, 0), "at least one state"),
        ("A", (5, 6), r"A must have the shape \(E, N\) = \(4, 6\), but it has \(5, 6\)"),
        ("delta", (2, 3, 5), "delta must have the shape"),
        ("B", (2, 3, 5), r"B must have the shape \(batch, L, N\) = \(2, 3, 6\)"),
        ("C", (2, 4, 6), "C must have the shape"),
        ("D", (6,), r"D must have the shape \(E,\) = \(4,\)"),
        ("z", (1, 3, 4), "z must have the shape"),
        ("delta_bias", (1, 4), "delta_bias must have the shape"),
    ],
)
def test_wrong_shapes_are_named(name, shape, message, inputs):
    values = inputs(2, 3, 4, 6)
    values[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        selective_scan(**values)


def test_wrong_dtype_and_device_are_named(inputs):
    values = inputs(2, 3, 4, 6)
    with pytest.raises(ValueError, match="B must be of a float dtype"):
        selective_scan(**{**values, "B": torch.zeros(2, 3, 6, dtype=torch.int64)})
    with pytest.raises(ValueError, match="z is on meta, but u is on cpu"):
        selective_scan(**{**values, "z": torch.zeros(2, 3, 4, device="meta")})


def test_empty_sequences():
    x = torch.zeros(1, 0, 4)
    assert selective_scan(x, x, -torch.ones(4, 4), x, x).shape == (1, 0, 4)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_autocast_leaves_the_recurrence_in_float32(backend, inputs):
    if backend == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    values = inputs(1, 40, 16, 16)
    wanted = torch.autograd.grad(selective_scan(**values, backend=backend).sum(), list(values.values()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan(**values, backend=backend)
        found = torch.autograd.grad(y.sum(), list(values.values()))
    assert y.dtype == torch.float32
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_importing_the_scan_imports_no_compiler():
    loaded = run_python(
        "import sys, vivim.scan; vivim.scan.selective_scan; print({'numba', 'triton'} & set(sys.modules))"
    )
    assert loaded == "set()"


def test_scan_without_numba_and_triton():
    code = (
        "import sys; sys.modules['numba'] = sys.modules['triton'] = None\n"
        "import torch; from vivim.scan import available_backends, selective_scan\n"
        "x = torch.ones(1, 3, 2); print(selective_scan(x, x, -x[0, :2], x, x).shape, available_backends())"
    )
    assert run_python(code) == "torch.Size([1, 3, 2]) ('torch',)"


def test_kernels_load_where_no_cache_can_be_written():
    pytest.importorskip("numba", reason="numba is not installed")
    code = (
        "from numba.core import caching\n"
        "def refuse(self): raise OSError('read-only')\n"
        "caching._CacheLocator.ensure_cache_path = refuse\n"
        "from vivim.scan.cpu import scan_kernels as k; print(type(k.forward._cache).__name__)"
    )
    assert run_python(code) == "NullCache"


def test_threads_give_the_same_numbers(inputs):
    pytest.importorskip("numba", reason="numba is not installed")
    values = inputs(2, 90, 40, 16)
    before = torch.get_num_threads()
    try:
        outputs = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            outputs.append(selective_scan(**values, backend="numba"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*outputs)
