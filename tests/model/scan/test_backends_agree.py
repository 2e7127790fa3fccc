"""The PyTorch and numba scans against the float64 loop, forward and in every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vivim.scan import selective_scan, torch_scan

from benchmarks.scan import loop_scan

FAST = ("torch", "numba")
SHAPES = {
    "one number": (1, 1, 1, 1),
    "odd length": (1, 37, 16, 16),
    "odd width": (1, 32, 5, 16),
    "few states": (1, 20, 8, 3),
    "more states than lanes": (1, 70, 7, 19),
    "batch": (3, 33, 20, 4),
    "many tiles": (2, 200, 33, 16),
}


@pytest.fixture(params=FAST)
def backend(request):
    if request.param == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    return request.param


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_agrees_with_the_loop_of_the_paper(backend, shape, inputs, agrees):
    agrees(inputs(*shape), backend, 1e-5)


@pytest.mark.parametrize(
    "without", [("D",), ("z",), ("delta_bias",), ("D", "z", "delta_bias")], ids=lambda names: "+".join(names)
)
def test_agrees_without_the_options(backend, without, inputs, agrees):
    agrees(inputs(2, 19, 6, 5, without=without), backend, 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs(backend, dtype, inputs, agrees):
    agrees(inputs(2, 40, 9, 16, dtype=dtype), backend, 1e-2)


def test_float64_inputs(inputs, agrees):
    agrees(inputs(2, 40, 9, 16, dtype=torch.float64), "torch", 1e-13)
    agrees(inputs(2, 40, 9, 16, dtype=torch.float64), "numba", 1e-5)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 80), st.integers(1, 36), st.integers(1, 18)),
    without=st.sets(st.sampled_from(["D", "z", "delta_bias"])),
    seed=st.integers(0, 2**16),
    backend=st.sampled_from(FAST),
)
def test_agrees_for_any_shape(inputs, agrees, shape, without, seed, backend):
    if backend == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
    agrees(inputs(*shape, without=without, seed=seed), backend, 2e-5)


def test_long_sequence_with_slow_decay(backend, inputs):
    values = inputs(1, 5001, 17, 2)
    with torch.no_grad():
        values["A"].mul_(1e-3)
        values["B"].abs_()
        values["u"].abs_()
        found = selective_scan(**values, backend=backend)
        wanted = loop_scan(**{k: v.double() for k, v in values.items()})
    assert torch.allclose(found.double(), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_backward_in_blocks_of_channels(monkeypatch, inputs, agrees):
    monkeypatch.setattr(torch_scan, "_STATES_AT_ONCE", 500)
    agrees(inputs(2, 37, 11, 4), "torch", 1e-5)


@pytest.mark.parametrize("length", [3, 18])
def test_gradcheck(length, inputs):
    values = inputs(1, length, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: selective_scan(*x, backend="torch"), tuple(values.values()))


def test_extreme_step_sizes_stay_finite(backend, inputs, agrees):
    values = inputs(1, 24, 16, 16)
    with torch.no_grad():
        values["delta"][:, ::3] = 60.0
        values["delta"][:, 1::3] = -60.0
        values["z"][:, ::2] *= 100.0
    agrees(values, backend, 1e-5)


def test_small_step_sizes_keep_their_digits(backend, inputs):
    values = inputs(1, 8, 16, 16, without=("D", "z", "delta_bias"))
    with torch.no_grad():
        values["delta"].fill_(-14.0)
        found = selective_scan(**values, backend=backend).double()
        exact = {k: None if v is None else v.double() for k, v in values.items()}
        wanted = loop_scan(**exact)
    assert torch.allclose(found, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["u", "delta", "B", "z"])
def test_not_a_number_is_not_hidden(backend, name, inputs):
    values = inputs(1, 10, 16, 16)
    with torch.no_grad():
        values[name][0, 4] = float("nan")
        y = selective_scan(**values, backend=backend)
    assert torch.isfinite(y[0, :4]).all()
    assert y[0, 4].isnan().all()


def test_strided_inputs(backend, inputs):
    values = inputs(2, 30, 16, 16)
    strided = {
        k: v.detach().transpose(0, -1).contiguous().transpose(0, -1) if v.ndim == 3 else v.detach()
        for k, v in values.items()
    }
    assert not strided["u"].is_contiguous()
    wanted = selective_scan(**values, backend=backend)
    assert torch.equal(selective_scan(**strided, backend=backend), wanted)


def test_only_the_gradients_asked_for(backend, inputs):
    values = {k: v.detach() for k, v in inputs(1, 20, 16, 16).items()}
    values["A"].requires_grad_()
    selective_scan(**values, backend=backend).sum().backward()
    assert values["A"].grad.abs().sum() > 0
    assert values["u"].grad is None
