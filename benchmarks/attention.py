"""What a clip's length costs: ST-Mamba against self-attention over space and time: ``python -m benchmarks.attention``.

One mixing layer of width 64, as in the network's second stage, sees the tokens of T frames on a 16 x 16 grid (a stage-3
grid of 256 x 256 frames), T = 5 to 256, once as ST-Mamba, once as full self-attention of all tokens with all
others, each in the form PyTorch runs fastest. Time is the median of interleaved rounds; memory is what the layer
takes at its peak above its input, measured in a process of its own. Writes a picture with ``--picture FILE``.
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

from benchmarks.report import interleaved, machine, parser, set_threads, summary, write
from benchmarks.video import Peak

WIDTH, HEADS, PLACES = 64, 2, 256
FRAMES = (5, 8, 16, 32, 64, 128, 256)


class SelfAttention(nn.Module):
    """Every token of a clip attends to every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_all = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Tokens ``(B, T*h*w, width)`` in, the same out."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.to_all(x).chunk(3, dim=-1)
        )
        return self.output(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


def layers() -> dict[str, nn.Module]:
    """The two mixers of one width."""
    torch.manual_seed(0)
    return {"ST-Mamba": STMamba(WIDTH).eval(), "self-attention": SelfAttention(WIDTH, HEADS).eval()}


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
        for name, mark in (("ST-Mamba", "o-"), ("self-attention", "s--")):
            axis.plot(frames, [row[f"{name}_{key}"] for row in rows], mark, label=name)
        axis.set(xscale="log", yscale="log", xlabel="frames of a clip", ylabel=label)
        axis.set_xticks(frames, [str(n) for n in frames])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)


@torch.inference_mode()
def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=3)
    options.add_argument("--frames", type=int, nargs="+", default=list(FRAMES))
    options.add_argument("--picture", type=Path, metavar="FILE", help="draw the curves (needs matplotlib)")
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = options.parse_args(argv)
    set_threads(arguments)
    if arguments.memory_of:
        print(json.dumps(peak_mb(arguments.memory_of, arguments.frames[0])))
        return
    report: dict[str, object] = {"machine": machine(), "width": WIDTH, "tokens_a_frame": PLACES}
    print(report["machine"])
    print(f"{'frames':>6} {'ST-Mamba':>22} {'self-attention':>22}")
    rows = []
    for frames in arguments.frames:
        x = torch.randn(1, frames * PLACES, WIDTH)
        runs = {name: partial(layer, x, frames) for name, layer in layers().items()}
        row: dict[str, float] = {"frames": frames}
        for name, seconds in interleaved(runs, arguments.rounds).items():
            row[f"{name}_ms"] = summary(seconds)["median_ms"]
            row[f"{name}_mb"] = memory_of(name, frames, torch.get_num_threads())
        rows.append(row)
        cells = [
            f"{row[f'{n}_ms']:11.1f} ms {row[f'{n}_mb']:4.0f} MiB" for n in ("ST-Mamba", "self-attention")
        ]
        print(f"{frames:>6} {cells[0]} {cells[1]}")
    report["rows"] = rows
    write(report, arguments.json)
    if arguments.picture:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
