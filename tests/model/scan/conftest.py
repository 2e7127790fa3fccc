"""Inputs for the scan, and the comparison of any backend with the paper's loop in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from vivim.scan import selective_scan

from benchmarks.scan import loop_scan

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
Inputs = dict[str, torch.Tensor | None]


def make_inputs(
    batch: int,
    length: int,
    width: int,
    states: int,
    *,
    without: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seed: int = 0,
) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    values = {
        "u": normal(batch, length, width),
        "delta": 2 * normal(batch, length, width) - 2,
        "A": -torch.exp(normal(width, states)),
        "B": normal(batch, length, states),
        "C": normal(batch, length, states),
        "D": normal(width),
        "z": normal(batch, length, width),
        "delta_bias": normal(width),
    }
    return {
        name: None if name in without else value.to(device, dtype).requires_grad_()
        for name, value in values.items()
    }


def results(inputs: Inputs, backend: str) -> dict[str, torch.Tensor]:
    """The output and the gradient of every input, for one fixed gradient of the output."""
    y = loop_scan(**inputs) if backend == "loop" else selective_scan(**inputs, backend=backend)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = {name: value for name, value in inputs.items() if value is not None}
    gradients = torch.autograd.grad(y, list(given.values()), gradient.to(y))
    return {"y": y.detach(), **dict(zip(given, gradients, strict=True))}


def assert_agrees(inputs: Inputs, backend: str, tolerance: float) -> None:
    """Compare with the loop in float64; `tolerance` is relative to the largest number of each tensor."""
    exact = {k: None if v is None else v.detach().double().cpu().requires_grad_() for k, v in inputs.items()}
    wanted = results(exact, "loop")
    for name, found in results(inputs, backend).items():
        assert found.dtype == inputs["u" if name == "y" else name].dtype, name
        scale = max(float(wanted[name].abs().max()), 1e-3)
        error = float((found.double().cpu() - wanted[name]).abs().max())
        assert error <= tolerance * scale, f"{name}: off by {error:.2e} at a scale of {scale:.2e}"


@pytest.fixture(scope="session")
def inputs() -> Callable[..., Inputs]:
    return make_inputs


@pytest.fixture(scope="session")
def agrees() -> Callable[[Inputs, str, float], None]:
    return assert_agrees


@pytest.fixture(scope="session")
def outcome() -> Callable[[Inputs, str], dict[str, torch.Tensor]]:
    return results
