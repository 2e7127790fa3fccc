"""The command ``vivim train``: datasets in, a model file out.

``vivim train CLIPS... --stills STILLS... -o RUN``; each dataset is FOLDER, or FOLDER:LABEL for one label of label
pictures, and may be weighted as FOLDER@WEIGHT. Started by ``torchrun``, it trains on all its processes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from vivim.devices import choose_device
from vivim.errors import VivimError
from vivim.imaging.resize import resize_frame
from vivim.network import Vivim
from vivim.network.weight_conversion import fetch_segformer, load_segformer
from vivim.training.config import TrainConfig
from vivim.training.datasets import Clip, load_dataset
from vivim.training.recipes import default_recipe, merged, read_recipe, recipe_names, to_config
from vivim.training.run_log import RunLog, table_head, table_line

WHOLE_NUMBERS = ("steps", "validate_every", "log_every", "patience", "parts", "seed")
NUMBERS = ("epochs", "learning_rate", "average_decay", "boundary_weight", "seconds", "pause_after")
"""Fields of `TrainConfig` that are options."""

IMPLANTS = 400
"""Pictures made for each data set of backgrounds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``vivim train``."""
    parser.add_argument(
        "datasets", nargs="*", metavar="DATASET", help="folders of clips: FOLDER[:LABEL][@WEIGHT]"
    )
    parser.add_argument(
        "--stills", nargs="*", default=[], metavar="DATASET", help="folders of single pictures"
    )
    parser.add_argument(
        "--phantoms", default="0", metavar="N[@WEIGHT]", help="how many synthetic clips to add"
    )
    parser.add_argument(
        "--implants",
        nargs="*",
        default=[],
        metavar="DATASET",
        help="single pictures to set synthetic lesions into",
    )
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="CLIP", help="names of clips never used"
    )
    parser.add_argument(
        "--validate", nargs="*", default=[], metavar="CLIP", help="folders of clips to report Dice on"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="RUN", help="folder of the run; resumed if it exists"
    )
    parser.add_argument("--resume", action="store_true", help="insist that there is a run to go on with")
    parser.add_argument(
        "--config",
        metavar="RECIPE",
        help=f"a TOML file, or one of {', '.join(recipe_names())}; options given here count more",
    )
    parser.add_argument(
        "--set-aside",
        dest="validation_clips",
        type=float,
        default=0.0,
        metavar="PART",
        help="keep this part of the clips out, whole clips, and choose the best weights by them",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be read")
    parser.add_argument("--size", help="b0 to b5")
    parser.add_argument("--input-size", type=int, help="height and width in pixels")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--initial", metavar="MODEL", help="a Vivim to start from")
    start.add_argument(
        "--segformer",
        metavar="WEIGHTS",
        help="SegFormer weights to start from: a file, or a name on the Hugging Face hub such as nvidia/mit-b0",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-record", action="store_true", help="launch every kernel of a step by itself")
    for name in WHOLE_NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    for name in NUMBERS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float)


def weighted(
    specs: list[str],
    size: tuple[int, int],
    stills: bool,
    leave_out: tuple[str, ...],
    skipped: Callable[[str], None] | None = None,
) -> tuple[list, list]:
    """Load datasets given as ``FOLDER[:LABEL][@WEIGHT]``. A dataset's weight is shared by its clips."""
    clips: list[Clip] = []
    weights: list[float] = []
    for spec in specs:
        folder, _, weight = spec.partition("@")
        loaded = load_dataset(folder, size, stills, leave_out, skipped)
        clips += loaded
        weights += [float(weight or len(loaded)) / len(loaded)] * len(loaded)
    return clips, weights


def phantoms(count: int, size: tuple[int, int]) -> list[Clip]:
    """Synthetic clips with known lesions, half speckle and half mucosa."""
    from vivim.video import make_phantom

    clips = []
    for seed in range(count):
        texture = ("speckle", "mucosa")[seed % 2]
        phantom = make_phantom(frames=32, size=size, texture=texture, seed=1000 + seed)
        frames = np.stack([resize_frame(frame, size) for frame in phantom.frames])
        clips.append(Clip(f"phantom/{texture}-{seed}", frames, phantom.masks))
    return clips


def add_synthetic(
    args: argparse.Namespace, size: tuple[int, int], clips: list[Clip], clip_weights: list[float],
    stills: list[Clip], still_weights: list[float], seed: int,
) -> None:  # fmt: skip
    """Add phantoms to the clips and implants to the stills, as asked."""
    count, _, weight = args.phantoms.partition("@")
    if int(count):
        clips += phantoms(int(count), size)
        clip_weights += [float(weight or count) / int(count)] * int(count)
    for spec in args.implants:
        from vivim.training.synthetic_lesions import implanted

        folder, _, weight = spec.partition("@")
        stills.append(implanted(load_dataset(folder, size, stills=True), IMPLANTS, seed))
        still_weights.append(float(weight or 1))


def recipe(args: argparse.Namespace, device: str) -> TrainConfig:
    """The recipe asked for, or that of the network's size, changed by the options given."""
    values = read_recipe(args.config or default_recipe(args.size or "b0", device))
    network: dict = {"size": args.size} if args.size else {}
    if args.input_size:
        network["input_size"] = (args.input_size, args.input_size)
    above = {name: getattr(args, name) for name in (*WHOLE_NUMBERS, *NUMBERS)}
    above = {name: value for name, value in above.items() if value is not None}
    if args.steps is not None and args.epochs is None:
        above["epochs"] = 0.0
    if args.learning_rate is not None:
        above["final_learning_rate"] = args.learning_rate / 100
    if args.no_record:
        above["record"] = False
    return to_config(merged(values, {**above, "network": network}))


def validation_clips(
    clips: list[Clip], weights: list[float], part: float, seed: int
) -> tuple[list[Clip], list[float], list[Clip]]:
    """Take about `part` of the clips out, at least one and never all, drawn from `seed`.

    Raises `VivimError` if there are fewer than two clips.
    """
    if not part:
        return clips, weights, []
    if len(clips) < 2:
        raise VivimError("Setting clips aside needs at least two clips.")
    count = min(len(clips) - 1, max(1, round(part * len(clips))))
    chosen = set(np.random.default_rng(seed).choice(len(clips), count, replace=False).tolist())
    kept = [number for number in range(len(clips)) if number not in chosen]
    return [clips[n] for n in kept], [weights[n] for n in kept], [clips[n] for n in sorted(chosen)]


def run(args: argparse.Namespace) -> dict:
    """Train. Returns the summary that ``--json`` prints."""
    from vivim.training.trainer import train

    device = choose_device(args.device)
    config = recipe(args, device.type)
    output = Path(args.output)
    if args.resume and not (output / "resume.pt").is_file():
        raise VivimError(f"There is no run to resume in {output}: leave --resume away to start one.")
    first = os.environ.get("RANK", "0") == "0"
    args.json = args.json and first
    say: Callable[[str], None] = (lambda text: print(text, flush=True)) if first else lambda text: None
    size, leave_out = config.network.input_size, tuple(args.leave_out)
    skipped = (lambda text: say(f"left out: {text}")) if args.skip_bad else None
    clips, clip_weights = weighted(args.datasets, size, False, leave_out, skipped)
    stills, still_weights = weighted(args.stills, size, True, leave_out, skipped)
    clips, clip_weights, held = validation_clips(clips, clip_weights, args.validation_clips, config.seed)
    add_synthetic(args, size, clips, clip_weights, stills, still_weights, config.seed)
    validation = [clip for folder in args.validate for clip in load_dataset(folder, size)]
    provenance = {
        "trained_on": {clip.name: len(clip.frames) for clip in [*clips, *stills]},
        "left_out": [*leave_out, *(clip.name for clip in held)],
        "recipe": {k: v for k, v in asdict(config).items() if k not in ("seconds", "pause_after")},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    say(
        f"{len(clips)} clips, {sum(len(s.frames) for s in stills)} stills, {len(held)} clips held out, on {device}"
    )
    event, log = None, None
    for event in train(
        clips, stills, output, config, validation_clips=held, initial=starting_weights(args, config), device=device,
        provenance=provenance, validation=validation, clip_weights=clip_weights, still_weights=still_weights,
    ):  # fmt: skip
        if log is None:
            log = RunLog(output, [clip.name for clip in validation])
            say(table_head())
        if first:
            log.add(event)
        say(table_line(event))
    peak = peak_memory(device)
    if peak is not None:
        say(f"most memory on the device: {peak:.0f} MiB")
    return {
        "model": str(output / ("best.safetensors" if held else "model.safetensors")),
        "log": str(output / "log.csv"),
        "peak_memory_mib": peak,
        **(asdict(event) if event else {}),
    }


def starting_weights(args: argparse.Namespace, config: TrainConfig) -> Vivim | None:
    """The network that the options name to start from. None for random weights.

    What SegFormer does not have, all of the temporal half, is random by the seed of the run.
    """
    from vivim.network.checkpoints import load_checkpoint

    if args.initial:
        return load_checkpoint(Path(args.initial))
    if not args.segformer:
        return None
    torch.manual_seed(config.seed)
    model, source = Vivim(config.network), Path(args.segformer)
    load_segformer(model, source if source.is_file() else fetch_segformer(args.segformer))
    return model


def peak_memory(device: torch.device) -> float | None:
    """The most memory that tensors took on a CUDA device so far, in MiB. None on others."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
