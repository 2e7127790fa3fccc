"""Frames per second of the network on a GPU: ``python -m benchmarks.gpu_network [--size b3] [--json FILE]``.

Windows of five 256 x 256 frames, one at a time and batched, in float32, TF32 and bfloat16, launched kernel by kernel
and replayed as a CUDA graph. Beside it, on the same GPU and in the same interleaved rounds, the reference arrangement:
the same weights in the form of the paper (`vivim.network.paper`), with mamba-ssm's scan where that works and else this
project's. The reference keeps a window's centre frame alone, this project all five: both the frames kept and those
computed are shown. Last, one window of 5 to 1024 frames.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import torch
from vivim.network import Vivim, VivimConfig
from vivim.scan import available_backends, selective_scan

from benchmarks.network import paper_form
from benchmarks.report import interleaved, machine, parser, replayed, summary, write

FRAMES, SIDE = 5, 256
PRECISIONS = ("float32", "tf32", "bfloat16")


@contextlib.contextmanager
def precision(name: str, device: str):
    """TF32 for matrix products and convolutions, bfloat16 by autocast, or neither."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16", cache_enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


def run(model: torch.nn.Module, clips: torch.Tensor, name: str) -> torch.Tensor:
    with torch.inference_mode(), precision(name, clips.device.type):
        return model(clips)


def measure(model: Vivim, batch: int, rounds: int, device: str) -> list[dict[str, object]]:
    """One row per arrangement for `batch` windows at once."""
    backend = "mamba-ssm" if "mamba-ssm" in available_backends() else "auto"
    reference = paper_form(model, partial(selective_scan, backend=backend))
    clips = torch.randn(batch, FRAMES, 3, SIDE, SIDE, device=device)
    exact = run(reference, clips, "float32")
    runs: dict[str, Callable[[], object]] = {}
    errors: dict[str, float] = {}
    for name in PRECISIONS:
        runs[f"reference, {name}"] = partial(run, reference, clips, name)
        runs[f"vivim, {name}"] = partial(run, model, clips, name)
        if device == "cuda" and batch == 1:
            runs[f"vivim, {name}, graph"] = replayed(partial(run, model, clips, name))
    for name, call in runs.items():
        errors[name] = float((call() - exact).abs().max() / exact.abs().max())
    rows: list[dict[str, object]] = []
    for name, seconds in interleaved(runs, rounds).items():
        found = summary(seconds)
        windows = 1e3 * batch / found["median_ms"]
        kept = windows * (1 if name.startswith("reference") else FRAMES)
        rows.append(
            {"arrangement": name, "batch": batch, "error": errors[name], **found}
            | {"frames_computed_a_second": windows * FRAMES, "frames_kept_a_second": kept}
        )
    return rows


def measure_lengths(size: str, lengths: list[int], device: str) -> list[dict[str, float]]:
    """Milliseconds and memory above the input of one window of T frames, bfloat16."""
    model = Vivim(VivimConfig(size=size)).eval().to(device)
    rows = []
    for frames in lengths:
        clip = torch.randn(1, frames, 3, SIDE, SIDE, device=device)
        row: dict[str, float] = {"frames": frames}
        row["ms"] = summary(interleaved({"": partial(run, model, clip, "bfloat16")}, 3)[""])["median_ms"]
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run(model, clip, "bfloat16")
            row["mb"] = (torch.cuda.max_memory_allocated() - before) / 2**20
        rows.append(row)
        print(f"T = {frames:5} {row['ms']:9.1f} ms {row.get('mb', float('nan')):8.0f} MiB")
    return rows


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=15)
    options.add_argument("--size", default="b3", help="b0 to b5")
    options.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    options.add_argument("--lengths", type=int, nargs="*", default=[5, 16, 64, 256, 1024])
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = options.parse_args(argv)
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size=arguments.size)).eval().to(arguments.device)
    report: dict[str, object] = {"machine": machine(arguments.device), "size": arguments.size}
    report["reference_scan"] = "mamba-ssm" if "mamba-ssm" in available_backends() else "vivim"
    print(report["machine"], "reference scan:", report["reference_scan"])
    print(f"{'':30} {'windows':>7} {'ms':>9} {'computed/s':>11} {'kept/s':>9} {'error':>8}")
    rows = []
    for batch in arguments.batches:
        for row in measure(model, batch, arguments.rounds, arguments.device):
            rows.append(row)
            print(
                f"{row['arrangement']:30} {batch:7} {row['median_ms']:9.2f} {row['frames_computed_a_second']:11.0f} "
                f"{row['frames_kept_a_second']:9.0f} {row['error']:8.0e}"
            )
    lengths = measure_lengths("b0", arguments.lengths, arguments.device)
    write(report | {"rows": rows, "lengths_of_b0": lengths}, arguments.json)


if __name__ == "__main__":
    main()
