"""What b0, b1 and b3 cost beside SegFormer of the same size: ``python -m benchmarks.sizes [--device cuda]``.

Clips of 8 frames of 256 x 256, one at a time, random weights, launched kernel by kernel. SegFormer is the same network
without temporal blocks. On a GPU bfloat16 by autocast, on a CPU float32. Memory is that of the GPU.
"""

from __future__ import annotations

from functools import partial

import torch
from vivim.network import Vivim, VivimConfig

from benchmarks.gpu_network import precision
from benchmarks.report import interleaved, machine, parser, set_threads, summary, write

FRAMES, SIDE = 8, 256


def run(model: Vivim, clip: torch.Tensor) -> torch.Tensor:
    cuda = clip.device.type == "cuda"
    with torch.inference_mode(), precision("bfloat16" if cuda else "float32", clip.device.type):
        return model(clip)


def memory(model: Vivim, clip: torch.Tensor) -> float:
    """MiB of the GPU that one clip takes above weights and input."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run(model, clip)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__.splitlines()[0], rounds=10)
    options.add_argument("--sizes", nargs="+", default=["b0", "b1", "b3"])
    options.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    args = options.parse_args(argv)
    set_threads(args)
    torch.manual_seed(0)
    clip = torch.randn(1, FRAMES, 3, SIDE, SIDE, device=args.device)
    models = {
        (size, kind): Vivim(VivimConfig(size=size, temporal_stages=stages)).eval().to(args.device)
        for size in args.sizes
        for kind, stages in (("SegFormer", ()), ("Vivim", (0, 1, 2, 3)))
    }
    held = {name: memory(model, clip) for name, model in models.items() if clip.is_cuda}
    seconds = interleaved(
        {" ".join(name): partial(run, model, clip) for name, model in models.items()}, args.rounds
    )
    rows = []
    print("| network | M parameters | frames/s | s per 1,000 frames | MiB |\n|---|---|---|---|---|")
    for name, model in models.items():
        found = summary(seconds[" ".join(name)])
        millions = sum(value.numel() for value in model.parameters()) / 1e6
        rate = 1e3 * FRAMES / found["median_ms"]
        row = {"size": name[0], "network": name[1], "parameters": millions, "frames_a_second": rate}
        rows.append(row | {"mib": held.get(name)} | found)
        mib = f"{held[name]:.0f}" if name in held else "-"
        print(f"| {name[1]} {name[0]} | {millions:.1f} | {rate:.0f} | {1e3 / rate:.2f} | {mib} |")
    write({"machine": machine(args.device), "rows": rows}, args.json)


if __name__ == "__main__":
    main()
