"""Scans and convolutions that visit tokens in another order, against reordered copies; the convolution itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from vivim.scan import backward_order, causal_conv, selective_scan, temporal_order
from vivim.scan.inputs import inverse_order

from benchmarks.scan import loop_scan

CPU = torch.device("cpu")


def plain_conv(u, weight, bias):
    """As written in the paper: channels first, padded in front, SiLU."""
    x = F.pad(u.transpose(1, 2), (weight.shape[1] - 1, 0))
    return F.silu(F.conv1d(x, weight[:, None], bias, groups=len(weight))).transpose(1, 2)


def test_orders_are_what_their_names_say():
    clip = torch.arange(6).view(3, 2)  # three frames of two places
    assert backward_order(6, CPU).tolist() == [5, 4, 3, 2, 1, 0]
    assert temporal_order(3, 2, CPU).tolist() == clip.t().flatten().tolist()
    order = temporal_order(3, 2, CPU)
    assert order[inverse_order(order)].tolist() == list(range(6))


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_a_scan_in_another_order_is_the_scan_of_the_reordered_sequence(backend, inputs):
    values = inputs(2, 150, 20, 5)
    order = temporal_order(5, 30, CPU)
    y = selective_scan(**values, backend=backend, order=order)
    copies = {k: v[:, order] if v.ndim == 3 else v for k, v in values.items()}
    wanted = loop_scan(**copies)[:, inverse_order(order)]
    assert torch.allclose(y, wanted, atol=1e-5 * float(wanted.abs().max()))
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    names = list(values)
    found = torch.autograd.grad(y, values.values(), gradient)
    exact = torch.autograd.grad(wanted, values.values(), gradient)
    for name, a, b in zip(names, found, exact, strict=True):
        assert torch.allclose(a, b, atol=2e-5 * float(b.abs().max())), name


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 70),
    width=st.integers(1, 40),
    taps=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_convolution_agrees_with_pytorch(batch, length, width, taps, seed):
    generator = torch.Generator().manual_seed(seed)
    u, weight, bias, gradient = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((batch, length, width), (width, taps), (width,), (batch, length, width))
    )
    order = torch.randperm(length, generator=generator)
    exact = [x.clone().requires_grad_() for x in (u, weight, bias)]
    wanted = plain_conv(exact[0][:, order], *exact[1:])[:, inverse_order(order)]
    single = [x.float().requires_grad_() for x in (u, weight, bias)]
    found = causal_conv(*single, order)
    assert torch.allclose(found.double(), wanted, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(found, single, gradient.float()),
        torch.autograd.grad(wanted, exact, gradient),
        strict=True,
    ):
        assert torch.allclose(a.double(), b, atol=1e-4)


def test_the_convolution_follows_the_choice_of_backend(monkeypatch):
    u, weight, bias = torch.randn(1, 30, 16), torch.randn(16, 4), torch.randn(16)
    compiled = causal_conv(u, weight, bias)
    monkeypatch.setenv("VIVIM_SCAN", "torch")
    assert torch.allclose(causal_conv(u, weight, bias), compiled, atol=1e-6)
    half = causal_conv(u.bfloat16(), weight, bias)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), compiled, atol=0.1)


@pytest.mark.parametrize(
    "order",
    [torch.zeros(30, dtype=torch.int64), torch.arange(29), torch.arange(30).int(), torch.arange(30) - 1],
)
def test_a_wrong_order_is_refused(order, inputs):
    with pytest.raises(ValueError, match="order must"):
        selective_scan(**inputs(1, 30, 16, 4), order=order)
