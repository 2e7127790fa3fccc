"""Time of the selective scan, of this project and of others: `python -m benchmarks.scan [--json FILE]`.

Sizes are those of the network's first and third stage for a clip of five 256 x 256 frames. Rounds are interleaved
(every implementation once, then again), so that a busy machine slows all alike; the table shows medians. Each result
is first compared with the float64 loop. mambapy is measured where it is installed (`pip install mambapy`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F
from vivim.scan import available_backends, selective_scan

from benchmarks.plain import loop_scan
from benchmarks.report import interleaved, machine, parser, set_threads, summary, write

SIZES = {"stage 1": (1, 20480, 128, 16), "stage 3": (1, 1280, 640, 16)}
LOOP = "loop in PyTorch"
Scan = Callable[..., torch.Tensor]


def mambapy_scan(u, delta, A, B, C, D, z, delta_bias):
    """mambapy's parallel scan, with decay, input and output prepared as its own Mamba block does."""
    pscan = importlib.import_module("mambapy.pscan").pscan
    step = F.softplus(delta + delta_bias)
    states = pscan(torch.exp(step[..., None] * A), (step * u)[..., None] * B[:, :, None])
    return ((states @ C[..., None]).squeeze(-1) + D * u) * F.silu(z)


def implementations(device: str) -> dict[str, Scan]:
    """The scans to compare on a device, by the name shown."""
    found: dict[str, Scan] = {LOOP: loop_scan}
    if importlib.util.find_spec("mambapy"):
        found["mambapy pscan"] = mambapy_scan
    names = {"cpu": ("torch", "numba"), "cuda": ("torch", "triton")}[device]
    for name in names:
        if name in available_backends():
            found[f"vivim {name}"] = lambda *inputs, backend=name: selective_scan(*inputs, backend=backend)
    return found


def make_inputs(batch: int, length: int, width: int, states: int, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    rates = -torch.arange(1.0, states + 1, device=device).repeat(width, 1)
    inputs = [
        normal(batch, length, width), normal(batch, length, width) - 4, rates,
        normal(batch, length, states), normal(batch, length, states),
        torch.ones(width, device=device), normal(batch, length, width), torch.zeros(width, device=device),
    ]  # fmt: skip
    return [x.requires_grad_() for x in inputs]


def run_once(scan: Scan, inputs: list[torch.Tensor], backward: bool) -> None:
    for x in inputs:
        x.grad = None
    with torch.set_grad_enabled(backward):
        y = scan(*inputs)
        if backward:
            y.sum().backward()


def largest_error(scan: Scan, inputs: list[torch.Tensor], exact: torch.Tensor) -> float:
    """Largest difference from the float64 loop, relative to its largest number; also warms the scan up."""
    with torch.no_grad():
        return float((scan(*inputs).double() - exact).abs().max() / exact.abs().max())


def measure(size: tuple[int, int, int, int], device: str, rounds: int) -> list[dict[str, object]]:
    """One row per implementation: medians and minima in milliseconds, and the error."""
    inputs = make_inputs(*size, device)
    with torch.no_grad():
        exact = selective_scan(*(x.double() for x in inputs), backend="oracle")
    scans = implementations(device)
    errors = {name: largest_error(scan, inputs, exact) for name, scan in scans.items()}
    kinds = {"forward": False, "forward_backward": True}
    runs = {
        f"{name}, {kind}": partial(run_once, scan, inputs, backward)
        for name, scan in scans.items()
        for kind, backward in kinds.items()
    }
    times = interleaved(runs, rounds, at_most={f"{LOOP}, {kind}": 3 for kind in kinds})
    rows: list[dict[str, object]] = []
    for name in scans:
        row: dict[str, object] = {"implementation": name, "error": errors[name]}
        for kind in kinds:
            found = summary(times[f"{name}, {kind}"])
            row[f"{kind}_ms"], row[f"fastest_{kind}_ms"] = found["median_ms"], found["least_ms"]
            row["rounds"] = found["rounds"]
        rows.append(row)
    return rows


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=9)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = options.parse_args(argv)
    set_threads(arguments)
    sizes: dict[str, object] = {}
    report = {"machine": machine(arguments.device), "sizes": sizes}
    print(report["machine"])
    for stage, size in SIZES.items():
        rows = measure(size, arguments.device, arguments.rounds)
        sizes[stage] = {"batch_L_E_N": size, "rows": rows}
        print(f"\n{stage}: batch, L, E, N = {size}")
        print(f"{'':18} {'forward':>12} {'+ backward':>12} {'error':>9}")
        for row in rows:
            print(
                f"{row['implementation']:18} {row['forward_ms']:9.1f} ms {row['forward_backward_ms']:9.1f} ms "
                f"{row['error']:9.0e}"
            )
    write(report, arguments.json)


if __name__ == "__main__":
    main()
