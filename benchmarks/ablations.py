"""Train each ablation recipe, score it on clips kept out, and print a table in Markdown.

    python benchmarks/ablations.py DATASET... --leave-out 20 21 22 23 -o runs/ [--seeds 0 1] [--only NAME...]

Runs that are finished are not run again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from vivim.evaluation.evaluate import evaluate
from vivim.network.checkpoints import load_checkpoint
from vivim.training.datasets import find_clips, load_dataset
from vivim.training.recipes import merged, read_recipe, to_config
from vivim.training.trainer import train

TITLES = {
    "segformer": "SegFormer alone, frame by frame",
    "onward": "onward scan",
    "onward-backward": "onward + backward scans",
    "onward-temporal": "onward + temporal-first scans",
    "one-scale": "three scans, coarsest scale only",
    "no-boundary": "three scans, four scales",
    "": "three scans, four scales, boundary constraint",
}


def one_run(name: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Scores of one recipe and seed: means over the clips kept out."""
    recipe = f"ablation-{name}" if name else "ablation"
    config = to_config(merged(read_recipe(recipe), {"seed": seed}))
    run = args.output / f"{recipe}-{seed}"
    began = time.monotonic()
    if not (run / "model.safetensors").exists() or args.again:
        clips = [
            clip
            for spec in args.datasets
            for clip in load_dataset(spec, config.network.input_size, leave_out=tuple(args.leave_out))
        ]
        for event in train(clips, [], run, config):
            print(f"{recipe} seed {seed} step {event.step} loss {event.loss:.3f}", flush=True)
    seconds = time.monotonic() - began
    model = load_checkpoint(run / "model.safetensors")
    kept = [
        clip
        for spec in args.datasets
        for clip in find_clips(Path(spec.split(":")[0]))
        if clip.name in args.leave_out
    ]
    scores = [result.scores for clip in kept for result in evaluate(clip, model, device="cpu")]
    means = {key: float(np.mean([score[key] for score in scores])) for key in ("dice", "max_dice", "hd95")}
    size = sum(value.numel() for value in model.parameters()) / 1e6
    return {**means, "parameters": size, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--leave-out", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", choices=[*TITLES, "all"], default=["all"])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    rows = []
    for name, title in TITLES.items():
        if "all" not in args.only and name not in args.only:
            continue
        found = [one_run(name, seed, args) for seed in args.seeds]
        dice = " / ".join(f"{one['dice']:.3f}" for one in found)
        mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        rows.append(
            f"| {title} | {mean['parameters']:.1f} | {dice} | {mean['max_dice']:.3f} | {mean['hd95']:.1f} |"
        )
        print(rows[-1], f"{mean['seconds']:.0f} s", flush=True)
    print("| network | M parameters | Dice by seed | max Dice | HD95 (px) |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
