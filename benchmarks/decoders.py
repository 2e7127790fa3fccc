"""The light decoder against a U-Net-like one of five times its size, both trained as long by the clock.

    python -m benchmarks.decoders DATA/polyp_cvc_clinicdb --seconds 60 --seeds 0 1 2 --jobs 6 --json FILE

A b0 by the recipe `ablation-no-boundary`, at the sizes of `SIZES`, with one or the other, trained on the sequences
that `benchmarks/cvc612.toml` does not name and scored on those of 612-V and 612-T together. The table has the mean
over seeds, and the least and largest. Runs side by side share the machine, so that the clock is the same for both.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vivim.evaluation.evaluate import evaluate_clip, overall
from vivim.network import vivim as network_module
from vivim.network.checkpoints import load_checkpoint
from vivim.training.datasets import find_clips, load_dataset
from vivim.training.recipes import merged, read_recipe, to_config
from vivim.training.trainer import train

from benchmarks.report import machine, write

SPLIT = Path(__file__).with_name("cvc612.toml")
SIZES = {
    "network": {"input_size": [128, 128]},
    "phases": [{"until": 1.0, "frames_per_batch": 16, "clip_lengths": [4]}],
    "warm_up_steps": 100,
    "average_decay": 0.995,
    "log_every": 100,
}
NAMES = {"light": "light decoder", "unet": "U-Net-like decoder"}
SCORES = {"dice": "Dice", "max_dice": "maxDice", "max_jaccard": "maxIoU", "hd95": "HD95 (px)"}

WIDTHS = (64, 144, 224)
"""Channels after each of the three joins, finest first."""


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNetDecoder(nn.Module):
    """From the coarsest feature up: double the grid, join the finer feature, convolve twice.

    It takes the place of `vivim.network.decoder.Decoder`, without organs.
    """

    def __init__(
        self, widths: tuple[int, ...], decoder_width: int, num_classes: int, organ: bool = False
    ) -> None:
        super().__init__()
        below = (*WIDTHS[1:], widths[-1])
        self.joins = nn.ModuleList(
            twice(skip + under, width) for skip, under, width in zip(widths[:-1], below, WIDTHS, strict=True)
        )
        self.dropout = nn.Dropout(0.1)
        self.classify = nn.Conv2d(WIDTHS[0], num_classes, 1)

    def forward(self, features: list[Tensor], with_organ: bool = False) -> Tensor:
        """Decode features, finest first, to logits on the finest grid."""
        x = features[-1]
        for skip, join in zip(features[-2::-1], list(self.joins)[::-1], strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = join(torch.cat((skip.to(x.dtype), x), 1))
        return self.classify(self.dropout(x))


@contextlib.contextmanager
def decoder(name: str) -> Iterator[None]:
    """Networks that are made meanwhile have the U-Net-like decoder, if `name` says so."""
    usual = network_module.Decoder
    if name == "unet":
        network_module.Decoder = UNetDecoder  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        network_module.Decoder = usual  # type: ignore[misc]


def one_run(name: str, seed: int, args: argparse.Namespace) -> dict[str, object]:
    """Train and score one decoder with one seed."""
    torch.set_num_threads(1)
    held = tuple(
        clip for part in tomllib.loads(SPLIT.read_text(encoding="utf-8"))["parts"].values() for clip in part
    )
    changes = {"seed": seed, "steps": 1_000_000, "seconds": args.seconds, "save_every": 1_000_000}
    config = to_config(merged(read_recipe("ablation-no-boundary"), SIZES | changes))
    clips = load_dataset(str(args.dataset), config.network.input_size, leave_out=held, part="all")
    device = torch.device(args.device)
    with decoder(name), tempfile.TemporaryDirectory() as run:
        *_, last = train(clips, [], Path(run), config, device=device)
        model = load_checkpoint(Path(run) / "model.safetensors").to(device)
    folders = [folder for folder in find_clips(args.dataset) if folder.name in held]
    means, _ = overall([evaluate_clip(folder, model, device) for folder in folders])
    found: dict[str, object] = {"decoder": name, "seed": seed, "steps": last.step, "seconds": last.seconds}
    found["decoder_parameters"] = sum(value.numel() for value in model.decoder.parameters())
    print(name, seed, last.step, means["dice"], flush=True)
    return found | {score: means[score] for score in SCORES}


def spread(values: list[float], digits: int = 3) -> str:
    """Mean, and least and largest value."""
    mean, least, most = (
        f"{v:.{digits}f}" for v in (math.fsum(values) / len(values), min(values), max(values))
    )
    return f"{mean} ({least}-{most})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(one_run, name, seed, args) for seed in args.seeds for name in NAMES]
        runs = [future.result() for future in waiting]
    write({"machine": machine(args.device), "runs": runs}, args.json)
    print(" | ".join(["decoder", "its parameters", "steps", *SCORES.values()]))
    for name, title in NAMES.items():
        same = [run for run in runs if run["decoder"] == name]
        digits = {"steps": 0, "hd95": 1}
        cells = [
            spread([float(str(run[key])) for run in same], digits.get(key, 3)) for key in ("steps", *SCORES)
        ]
        print(" | ".join([title, f"{same[0]['decoder_parameters']:,}", *cells]))


if __name__ == "__main__":
    main()
