"""The scan's kernels against the float64 loop: ``python -m benchmarks.gpu_scan_check [--device cuda] [--json FILE]``.

Every dtype, batches of 1 to 16, sequences up to a million tokens, forward and the gradient of every input, with and
without an order of tokens. The error of a tensor is its largest difference from the float64 loop, relative to the
tensor's largest number. With 16-bit inputs the loop gets the same rounded inputs. Ends with code 1 if a limit is
exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

LIMITS = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Largest relative error allowed; a float16 has 11 bits, a bfloat16 8, and outputs are rounded to them."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    batch: int
    length: int
    width: int
    states: int
    dtype: str
    ordered: bool
    error: float
    worst: str
    """The tensor with the largest error."""
    limit: float
    seconds: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


def cases(small: bool) -> Iterator[tuple[int, int, int, int, torch.dtype, bool]]:
    """Batch, length, width, states, dtype, and whether tokens are visited in another order than they lie."""
    sizes = [(1, 70, 33, 16), (2, 37, 5, 3)]
    if not small:
        sizes += [(1, 1, 1, 1), (3, 1001, 65, 17), (16, 513, 96, 16), (1, 5120, 128, 16)]
    for size in sizes:
        for dtype in LIMITS:
            for ordered in (False, True):
                yield *size, dtype, ordered
    if not small:
        for batch in range(1, 17):
            yield batch, 300, 96, 16, torch.float32, False
        yield 1, 20_480, 128, 16, torch.float32, True


def make_inputs(
    size: tuple[int, int, int, int], dtype: torch.dtype, device: str, seed: int = 0
) -> dict[str, torch.Tensor]:
    batch, length, width, states = size
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    values = {
        "u": normal(batch, length, width), "delta": normal(batch, length, width) - 2,
        "A": -torch.exp(normal(width, states)), "B": normal(batch, length, states),
        "C": normal(batch, length, states), "D": normal(width), "z": normal(batch, length, width),
        "delta_bias": normal(width),
    }  # fmt: skip
    whole = ("A", "D", "delta_bias")  # parameters stay float32 in the network
    return {k: v.to(torch.float32 if k in whole else dtype).requires_grad_() for k, v in values.items()}


def outcome(
    inputs: dict[str, torch.Tensor], backend: str, order: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """Output and gradients for one fixed gradient of the output."""
    from vivim.scan import selective_scan
    from vivim.scan.inputs import inverse_order

    from benchmarks.scan import loop_scan

    if backend != "loop":
        y = selective_scan(**inputs, backend=backend, order=order)
    elif order is None:
        y = loop_scan(**inputs)
    else:
        visited = {k: v[:, order] if v.ndim == 3 else v for k, v in inputs.items()}
        y = loop_scan(**visited)[:, inverse_order(order)]
    generator = torch.Generator(y.device).manual_seed(1)
    gradient = torch.randn(y.shape, generator=generator, device=y.device).to(y.dtype)
    gradients = torch.autograd.grad(y, list(inputs.values()), gradient)
    return {"y": y.detach(), **dict(zip(inputs, gradients, strict=True))}


def compare(size: tuple[int, int, int, int], dtype: torch.dtype, ordered: bool, device: str) -> Row:
    inputs = make_inputs(size, dtype, device)
    order = None
    if ordered:
        order = torch.randperm(size[1], generator=torch.Generator().manual_seed(2)).to(device)
    began = time.perf_counter()
    found = outcome(inputs, "triton", order)
    exact = outcome({k: v.detach().double().requires_grad_() for k, v in inputs.items()}, "loop", order)
    errors = {
        name: float(
            (found[name].double() - exact[name]).abs().max() / exact[name].abs().max().clamp(min=1e-3)
        )
        for name in exact
    }
    worst = max(errors, key=errors.__getitem__)
    name = str(dtype).removeprefix("torch.")
    return Row(
        *size, name, ordered, errors[worst], worst, LIMITS[dtype], round(time.perf_counter() - began, 2)
    )


def long_sequence(length: int, device: str) -> Row:
    """A sequence too long for the loop: its end must be what the loop gives for the last tokens alone.

    Steps are long enough (delta about 2, rates of at least 0.5) for the states to forget within a few hundred tokens.
    """
    from vivim.scan import selective_scan

    from benchmarks.scan import loop_scan

    size = (1, length, 32, 16)
    inputs = {k: v.detach() for k, v in make_inputs(size, torch.float32, device).items()}
    inputs["delta"] = inputs["delta"] + 4
    inputs["A"] = -torch.arange(0.5, 8.5, 0.5, device=device).repeat(32, 1)
    tail = min(4096, length)
    began = time.perf_counter()
    y = selective_scan(**inputs, backend="triton")[:, -tail // 2 :]
    last = {k: v[:, -tail:] if v.ndim == 3 else v for k, v in inputs.items()}
    exact = loop_scan(**{k: v.double() for k, v in last.items()})[:, -tail // 2 :]
    error = float((y.double() - exact).abs().max() / exact.abs().max())
    return Row(
        *size, "float32", False, error, "y", LIMITS[torch.float32], round(time.perf_counter() - began, 2)
    )


def checked(small: bool, device: str) -> Iterator[Row]:
    """All comparisons, one after the other."""
    for case in cases(small):
        yield compare(case[:4], case[4], case[5], device)
    for length in [300] if small else [100_000, 1_000_000]:
        yield long_sequence(length, device)


def main(argv: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: small, interpreted")
    options.add_argument("--json", type=Path, metavar="FILE")
    arguments = options.parse_args(argv)
    small = arguments.device == "cpu"
    if small:
        os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are first imported
    rows = []
    for row in checked(small, arguments.device):
        rows.append(row)
        mark = "" if row.passed else "  TOO LARGE"
        ordered = "ordered" if row.ordered else "       "
        print(
            f"{row.batch:3} {row.length:8} {row.width:5} {row.states:3} {row.dtype:9} {ordered} "
            f"{row.error:8.1e} ({row.worst}) {row.seconds:6.1f} s{mark}",
            flush=True,
        )
    failed = sum(not row.passed for row in rows)
    print(f"{len(rows)} comparisons, {failed} beyond the limit")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
