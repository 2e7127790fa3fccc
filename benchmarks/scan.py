"""Time of the selective scan, of this project and of others: `python -m benchmarks.scan [--json FILE]`.

Sizes are those of the network's first and third stage for a clip of five 256 x 256 frames. Rounds are interleaved
(every implementation once, then again), so that a busy machine slows all alike; the table shows medians. Each result
is first compared with the float64 loop. mambapy is measured where it is installed (`pip install mambapy`); with
`--device cuda` mamba-ssm too, once through this project's adapter and once given its inputs channels first, as its
kernels want them; "replayed" is a recording of the same kernels, which shows the GPU's time without the launches.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F
from vivim.network import paper
from vivim.scan import available_backends, selective_scan

from benchmarks.report import interleaved, machine, parser, replayed, set_threads, summary, write

SIZES = {"stage 1": (1, 20480, 128, 16), "stage 3": (1, 1280, 640, 16)}
LOOP = "loop in PyTorch"
Scan = Callable[..., torch.Tensor]
CHANNELS_FIRST = "mamba-ssm, channels first"
REPLAYED = ("vivim triton", CHANNELS_FIRST)
REPLAY = ", replayed"


def loop_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None):
    """The loop over tokens of the paper's form; in float64 it is what the backends are compared with."""
    step = F.softplus(delta if delta_bias is None else delta + delta_bias)
    y = paper.selective_scan(u, step, A, B, C, torch.zeros_like(A[:, 0]) if D is None else D)
    return y if z is None else y * F.silu(z)


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
    names = {"cpu": ("torch", "numba"), "cuda": ("torch", "triton", "mamba-ssm")}[device]
    for name in names:
        if name in available_backends():
            shown = name if name == "mamba-ssm" else f"vivim {name}"
            found[shown] = lambda *inputs, backend=name: selective_scan(*inputs, backend=backend)
    if "mamba-ssm" in found:
        kernels = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
        found[CHANNELS_FIRST] = partial(kernels.selective_scan_fn, delta_softplus=True)
    return found


def inputs_of(name: str, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Inputs as an implementation wants them: sequences channels first for mamba-ssm's own function."""
    if name != CHANNELS_FIRST:
        return inputs
    first = [x.detach().transpose(1, 2).contiguous() if x.ndim == 3 else x.detach() for x in inputs]
    return [x.requires_grad_() for x in first]


def make_inputs(
    batch: int, length: int, width: int, states: int, device: str, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Inputs in the order of `selective_scan`'s arguments; sequences ``(batch, L, ...)`` in the dtype."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    rates = -torch.arange(1.0, states + 1, device=device).repeat(width, 1)
    inputs = [
        normal(batch, length, width), normal(batch, length, width) - 4, rates,
        normal(batch, length, states), normal(batch, length, states),
        torch.ones(width, device=device), normal(batch, length, width), torch.zeros(width, device=device),
    ]  # fmt: skip
    return [(x.to(dtype) if x.ndim == 3 else x).requires_grad_() for x in inputs]


def run_once(scan: Scan, inputs: list[torch.Tensor], backward: bool) -> torch.Tensor:
    with torch.set_grad_enabled(backward):
        y = scan(*inputs)
        if backward:
            return torch.autograd.grad(y, inputs, torch.ones_like(y))[0]
        return y


def largest_error(name: str, scan: Scan, inputs: list[torch.Tensor], exact: torch.Tensor) -> float:
    """Largest difference from the float64 loop, relative to its largest number; also warms the scan up."""
    with torch.no_grad():
        y = scan(*inputs)
        y = y.transpose(1, 2) if name == CHANNELS_FIRST else y
        return float((y.double() - exact).abs().max() / exact.abs().max())


def measure(
    size: tuple[int, int, int, int], device: str, rounds: int, dtype: torch.dtype = torch.float32
) -> list[dict[str, object]]:
    """One row per implementation: medians and minima in milliseconds, and the error."""
    inputs = make_inputs(*size, device, dtype)
    with torch.no_grad():
        exact = loop_scan(*(x.double() for x in inputs))
    scans = implementations(device)
    given = {name: inputs_of(name, inputs) for name in scans}
    errors = {name: largest_error(name, scan, given[name], exact) for name, scan in scans.items()}
    kinds = {"forward": False, "forward_backward": True}
    runs = {
        f"{name}, {kind}": partial(run_once, scan, given[name], backward)
        for name, scan in scans.items()
        for kind, backward in kinds.items()
    }
    if device == "cuda":  # the GPU's work alone, without launches
        for name in [name for name in scans if name in REPLAYED]:
            errors[name + REPLAY] = errors[name]
            runs |= {f"{name}{REPLAY}, {kind}": replayed(runs[f"{name}, {kind}"]) for kind in kinds}
    times = interleaved(runs, rounds, at_most={f"{LOOP}, {kind}": 1 for kind in kinds})
    rows: list[dict[str, object]] = []
    for name in errors:
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
    options.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    arguments = options.parse_args(argv)
    set_threads(arguments)
    sizes: dict[str, object] = {}
    report = {"machine": machine(arguments.device), "sizes": sizes}
    report["dtype"] = arguments.dtype
    print(report["machine"])
    for stage, size in SIZES.items():
        rows = measure(size, arguments.device, arguments.rounds, getattr(torch, arguments.dtype))
        sizes[stage] = {"batch_L_E_N": size, "rows": rows}
        print(f"\n{stage}: batch, L, E, N = {size}")
        print(f"{'':36} {'forward':>12} {'+ backward':>12} {'error':>9}")
        for row in rows:
            print(
                f"{row['implementation']:36} {row['forward_ms']:9.2f} ms {row['forward_backward_ms']:9.2f} ms "
                f"{row['error']:9.0e}"
            )
    write(report, arguments.json)


if __name__ == "__main__":
    main()
