"""What a clip's length costs: ST-Mamba against self-attention over space and time: ``python -m benchmarks.attention``.

One mixing layer of width 64 sees the tokens of T frames on a 16 x 16 grid (the third stage's, for frames of
256 x 256), T = 5 to 256: as ST-Mamba, and as self-attention of all tokens with all others, the latter by PyTorch's
fused kernel, which never holds the matrix of weights, and as written, which does. Time is the median of interleaved
rounds; memory is what the layer takes at its peak above its input, measured in a process of its own (on a GPU by
PyTorch's own account). Writes a picture with ``--picture FILE``; ``--device cuda`` measures a GPU, up to 1024 frames.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vivim.network.temporal_mamba import STMamba

from benchmarks.report import Peak, interleaved, machine, parser, set_threads, summary, write

WIDTH, HEADS, PLACES = 64, 2, 256
FRAMES = (5, 8, 16, 32, 64, 128, 256)
MOST_WEIGHTS = 2**30  # beyond as many numbers in its matrix, attention as written is left out


class SelfAttention(nn.Module):
    """Every token of a clip attends to every other."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.to_all = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Tokens ``(B, T*h*w, width)`` in, the same out."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.to_all(x).chunk(3, dim=-1)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            mixed = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value
        return self.output(mixed.transpose(1, 2).flatten(2))


def layers(device: str = "cpu") -> dict[str, nn.Module]:
    """The mixers, all of one width."""
    torch.manual_seed(0)
    made = {
        "ST-Mamba": STMamba(WIDTH),
        "attention, fused": SelfAttention(WIDTH, HEADS, fused=True),
        "attention as written": SelfAttention(WIDTH, HEADS, fused=False),
    }
    return {name: layer.eval().to(device) for name, layer in made.items()}


def fits(name: str, frames: int) -> bool:
    """Whether a layer is worth trying at a length."""
    return name != "attention as written" or HEADS * (frames * PLACES) ** 2 <= MOST_WEIGHTS


@torch.inference_mode()
def peak_on_gpu_mb(layer: nn.Module, x: Tensor, frames: int) -> float:
    """Memory of one layer above its input, in MiB."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    layer(x, frames)
    return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)


@torch.inference_mode()
def peak_mb(name: str, frames: int) -> float:
    """Memory of one layer above its input, in MiB; for a fresh process."""
    layer = layers()[name]
    layer(torch.randn(1, 2 * PLACES, WIDTH), 2)
    x = torch.randn(1, frames * PLACES, WIDTH)
    with Peak() as peak:
        for _ in range(2):
            layer(x, frames)
    return (peak.highest - peak.start) / 2**20


def memory_of(name: str, frames: int, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.attention", "--memory-of", name, "--frames", str(frames)]
    done = subprocess.run(
        [*command, "--threads", str(threads)], check=True, stdout=subprocess.PIPE, text=True
    )
    return round(float(json.loads(done.stdout.splitlines()[-1])), 1)


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Both curves, time and memory, on logarithmic axes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    frames = [row["frames"] for row in rows]
    for axis, key, label in ((axes[0], "ms", "time, ms"), (axes[1], "mb", "memory, MiB")):
        for name, mark in zip(layers(), ("o-", "s--", "^:"), strict=True):
            known = [row for row in rows if f"{name}_{key}" in row]
            values = [max(row[f"{name}_{key}"], 1.0) for row in known]
            axis.plot([row["frames"] for row in known], values, mark, label=name)
        axis.set(xscale="log", yscale="log", xlabel="frames of a clip", ylabel=label)
        axis.set_xticks(frames, [str(n) for n in frames])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)


@torch.inference_mode()
def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=3)
    options.add_argument("--frames", type=int, nargs="+", help="default: 5 to 256, on a GPU to 1024")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--picture", type=Path, metavar="FILE", help="draw the curves (needs matplotlib)")
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = options.parse_args(argv)
    set_threads(arguments)
    if arguments.memory_of:
        print(json.dumps(peak_mb(arguments.memory_of, arguments.frames[0])))
        return
    device = arguments.device
    lengths = arguments.frames or [*FRAMES, *([512, 1024] if device == "cuda" else [])]
    report: dict[str, object] = {"machine": machine(device), "width": WIDTH, "tokens_a_frame": PLACES}
    print(report["machine"])
    print(f"{'frames':>6}" + "".join(f"{name:>26}" for name in layers()))
    rows = []
    for frames in lengths:
        x = torch.randn(1, frames * PLACES, WIDTH, device=device)
        fitting = {name: layer for name, layer in layers(device).items() if fits(name, frames)}
        runs = {name: partial(layer, x, frames) for name, layer in fitting.items()}
        row: dict[str, float] = {"frames": frames}
        for name, seconds in interleaved(runs, arguments.rounds).items():
            row[f"{name}_ms"] = summary(seconds)["median_ms"]
            row[f"{name}_mb"] = (
                peak_on_gpu_mb(fitting[name], x, frames)
                if device == "cuda"
                else memory_of(name, frames, torch.get_num_threads())
            )
        rows.append(row)
        cells = (f"{row[f'{n}_ms']:13.1f} ms {row[f'{n}_mb']:5.0f} MiB" for n in runs)
        print(f"{frames:>6}" + "".join(f"{cell:>26}" for cell in cells))
    report["rows"] = rows
    write(report, arguments.json)
    if arguments.picture:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
