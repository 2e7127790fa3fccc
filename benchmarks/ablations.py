"""Train recipes on a split of a data set, score them on the parts kept out, and print tables in Markdown.

    python -m benchmarks.ablations DATASET --split benchmarks/cvc612.toml -o runs [--recipes NAME...] [--seeds 0 1 2]
        [--jobs 8]

A recipe is one of the package, or a TOML file. By default they are those of the ablations. ``--initial MODEL`` starts
all of them from the weights of another training. Runs that are finished are not run again, and an interrupted one goes
on. Every run leaves ``scores.json``; ``--table`` only prints what is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vivim.devices import choose_device
from vivim.evaluation.evaluate import evaluate, overall
from vivim.network import Vivim
from vivim.network.checkpoints import load_checkpoint
from vivim.training.datasets import find_clips, load_dataset
from vivim.training.recipes import merged, read_recipe, to_config
from vivim.training.trainer import train

TITLES = {
    "ablation-segformer": "SegFormer alone, frame by frame",
    "ablation-onward": "onward scan",
    "ablation-onward-backward": "onward + backward scans",
    "ablation-onward-temporal": "onward + temporal-first scans",
    "ablation-one-scale": "three scans, coarsest scale only",
    "ablation-no-boundary": "three scans, four scales",
    "ablation": "three scans, four scales, boundary constraint",
}
SCORES = {
    "max_dice": "maxDice",
    "max_jaccard": "maxIoU",
    "s_measure": "S",
    "e_measure": "E",
    "mae": "MAE",
    "dice": "Dice",
}


def read_split(path: Path) -> dict[str, list[str]]:
    """Names of the clips of each part that is kept out."""
    return tomllib.loads(path.read_text("utf-8"))["parts"]


def one_run(recipe: str, seed: int, args: argparse.Namespace) -> None:
    """Train one recipe with one seed, and score it on each part."""
    given: dict[str, Any] = {"seed": seed}
    if args.seconds:
        given |= {"seconds": args.seconds, "steps": 10**6}
    config = to_config(merged(read_recipe(recipe), given))
    run, parts = place(recipe, seed, args), read_split(args.split)
    kept_out = tuple(name for names in parts.values() for name in names)
    began = time.monotonic()
    if not (run / "model.safetensors").exists():
        clips = load_dataset(args.dataset, config.network.input_size, leave_out=kept_out, part="all")
        initial = load_checkpoint(args.initial) if args.initial else None
        for event in train(clips, [], run, config, initial=initial, device=choose_device(args.device)):
            print(f"{run.name} step {event.step} loss {event.loss:.3f}", flush=True)
    seconds = time.monotonic() - began
    model = load_checkpoint(run / "model.safetensors")
    found = {
        "recipe": recipe,
        "seed": seed,
        "seconds": round(seconds),
        "parameters": sum(value.numel() for value in model.parameters()),
        "parts": {name: scores(args.dataset, names, model, args.device) for name, names in parts.items()},
    }
    (run / "scores.json").write_text(json.dumps(found, indent=1), "utf-8")
    print(f"{run.name}: {seconds:.0f} s, {found['parts']}", flush=True)


def scores(dataset: str, names: Sequence[str], model: Vivim, device: str) -> dict[str, float]:
    """Means over the clips of a part; the largest Dice and Jaccard are those of one threshold for all of them."""
    clips = [clip for clip in find_clips(Path(dataset)) if clip.name in names]
    assert len(clips) == len(names), f"{dataset} lacks clips of {names}"
    results = [result for clip in clips for result in evaluate(clip, model, device=device)]
    means, _ = overall(results)
    return {name: round(float(means[name] or 0.0), 4) for name in SCORES}


def place(recipe: str, seed: int, args: argparse.Namespace) -> Path:
    """The folder of a run."""
    return args.output / f"{Path(recipe).stem}{args.suffix}-{seed}"


def run_side_by_side(tasks: list[tuple[str, int]], args: argparse.Namespace) -> None:
    """Run each recipe and seed as a process of its own, `args.jobs` at a time, with a log in its folder."""
    waiting, running = list(tasks), []
    while waiting or running:
        while waiting and len(running) < args.jobs:
            recipe, seed = waiting.pop(0)
            log = place(recipe, seed, args).with_suffix(".log")
            command = [
                sys.executable,
                "-m",
                "benchmarks.ablations",
                *sys.argv[1:],
                "--one",
                recipe,
                str(seed),
            ]
            running.append(subprocess.Popen(command, stdout=log.open("ab"), stderr=subprocess.STDOUT))
        time.sleep(0.5)
        running = [process for process in running if process.poll() is None]


def table(runs: Sequence[dict[str, Any]], reported: dict[str, Any]) -> str:
    """One row for a recipe and part: the mean over seeds, and the lowest and highest of them."""
    head = ["network", "M parameters", "part", "seeds", *SCORES.values()]
    lines = [" | ".join(head), "|".join(["---"] * len(head))]
    for name in dict.fromkeys(run["name"] for run in runs):
        same = [run for run in runs if run["name"] == name]
        for part in same[0]["parts"]:
            cells = [_spread([run["parts"][part][score] for run in same]) for score in SCORES]
            size = f"{same[0]['parameters'] / 1e6:.1f}"
            lines.append(" | ".join([TITLES.get(name, name), size, part, str(len(same)), *cells]))
    for paper, parts in reported.items():
        for part, values in parts.items():
            cells = [f"{values[score]:.3f}" if score in values else "-" for score in SCORES]
            lines.append(" | ".join([f"as {paper}'s paper reports", "-", part, "-", *cells]))
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=list(TITLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--initial", type=Path)
    parser.add_argument(
        "--suffix", default="", help="added to the names of the runs, say for other initial weights"
    )
    parser.add_argument("--seconds", type=float, help="train by the clock, every recipe as long")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if args.one:
        one_run(args.one[0], int(args.one[1]), args)
        return
    if not args.table:
        tasks = [(recipe, seed) for seed in args.seeds for recipe in args.recipes]
        run_side_by_side([task for task in tasks if not (place(*task, args) / "scores.json").exists()], args)
    found = []
    for path in sorted(args.output.glob("*/scores.json")):
        found.append({**json.loads(path.read_text("utf-8")), "name": path.parent.name.rpartition("-")[0]})
    order = list(TITLES)
    found.sort(
        key=lambda run: (order.index(run["name"]) if run["name"] in order else len(order), run["name"])
    )
    if not found:
        raise SystemExit(f"No run in {args.output} has ended. See the logs there.")
    print(table(found, tomllib.loads(args.split.read_text("utf-8")).get("reported", {})))


if __name__ == "__main__":
    main()
