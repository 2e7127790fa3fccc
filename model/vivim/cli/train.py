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
from typing import TYPE_CHECKING

from vivim.devices import choose_device
from vivim.errors import VivimError
from vivim.registry.registry import load_model

if TYPE_CHECKING:
    import torch

    from vivim.network import Vivim
    from vivim.training.config import TrainConfig
    from vivim.training.datasets import Clip
    from vivim.training.sources import Source

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
        "--phantoms",
        type=phantoms,
        default=(0, 0.0),
        metavar="N[@WEIGHT]",
        help="how many synthetic clips to add",
    )
    parser.add_argument(
        "--implants",
        nargs="*",
        default=[],
        metavar="DATASET",
        help="single pictures to set synthetic lesions into",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where data sets are looked for; without any DATASET those of the recipe are taken",
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
        help="a TOML file, or the name of a recipe of the package; options given here count more",
    )
    parser.add_argument(
        "--set-aside",
        dest="validation_clips",
        type=float,
        default=0.0,
        metavar="PART",
        help="keep this part of the clips out, whole clips, and choose the best weights by them",
    )
    parser.add_argument(
        "--prompts",
        action="store_true",
        help="train clicks, boxes and scribbles on top of the network given with --initial, which stays as it is",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be read")
    parser.add_argument("--size", help="b0 to b5")
    parser.add_argument("--input-size", type=int, help="height and width in pixels")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--initial", metavar="M", help="a Vivim to start from: a name from `vivim models list`, or a file"
    )
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


def phantoms(text: str) -> tuple[int, float]:
    """``"12@3"`` as a number of clips and their weight, which is the number where it is left out."""
    count, _, weight = text.partition("@")
    try:
        return int(count), float(weight or count)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of clips such as 12 or 12@3") from None


def sources(args: argparse.Namespace, config: TrainConfig) -> tuple[list[Source], list[Source]]:
    """Sources of clips and of stills: those of the command line, or else the recipe's."""
    from vivim.training.sources import PHANTOMS, Source, parse_source

    clips = [parse_source(text) for text in args.datasets]
    count, weight = args.phantoms
    if count:
        clips.append(Source(PHANTOMS, weight, count=count))
    stills = [parse_source(text) for text in args.stills]
    stills += [parse_source(text, implants=IMPLANTS) for text in args.implants]
    return (clips, stills) if clips or stills else (list(config.clips), list(config.stills))


def recipe(args: argparse.Namespace, device: str) -> TrainConfig:
    """The recipe asked for, or that of the network's size, changed by the options given."""
    from vivim.training.recipes import default_recipe, merged, read_recipe, to_config

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
    import numpy as np

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
    from vivim.training.datasets import load_dataset
    from vivim.training.run_log import RunLog, table_head, table_line
    from vivim.training.sources import load_sources
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
    given = sources(args, config)
    (clips, clip_weights), (stills, still_weights) = (
        load_sources(
            part, args.data, size, number == 1, seed=config.seed, leave_out=leave_out, skipped=skipped
        )
        for number, part in enumerate(given)
    )
    clips, clip_weights, held = validation_clips(clips, clip_weights, args.validation_clips, config.seed)
    validation = [clip for folder in args.validate for clip in load_dataset(folder, size, part="all")]
    provenance = {
        "trained_on": {clip.name: len(clip.frames) for clip in [*clips, *stills]},
        "left_out": [*leave_out, *(clip.name for clip in held)],
        "recipe": {k: v for k, v in asdict(config).items() if k not in ("seconds", "pause_after")},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if args.prompts:
        share = config.still_share if clips and stills else float(bool(stills))
        parts = ((clip_weights, 1 - share), (still_weights, share))
        weights = [weight * part / sum(given) for given, part in parts for weight in given]
        return _train_prompts(args, [*clips, *stills], weights, device, say, provenance)
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
    if args.initial:
        return load_model(args.initial)
    if not args.segformer:
        return None
    import torch

    from vivim.network import Vivim
    from vivim.network.weight_conversion import fetch_segformer, load_segformer

    torch.manual_seed(config.seed)
    model, source = Vivim(config.network), Path(args.segformer)
    load_segformer(model, source if source.is_file() else fetch_segformer(args.segformer))
    return model


def _train_prompts(
    args: argparse.Namespace, clips: list[Clip], weights: list[float], device: torch.device,
    say: Callable[[str], None], provenance: dict,
) -> dict:  # fmt: skip
    """Train the prompt head of a network into ``RUN/model.safetensors``, which is written again and again."""
    import torch

    from vivim.network.checkpoints import save_checkpoint
    from vivim.training.prompt_training import PromptRecipe, train_prompts

    if not args.initial or args.resume or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise VivimError(
            "Prompts are trained in one process, on top of a network: give it with --initial. To go on with a run give "
            "its model.safetensors."
        )
    if not clips:
        raise VivimError("Nothing to train on: give at least one dataset of clips or stills.")
    initial, path = load_model(args.initial), Path(args.output) / "model.safetensors"
    names = {"steps": "steps", "seconds": "seconds", "learning_rate": "learning_rate", "seed": "seed",
             "log_every": "report_every", "average_decay": "average_decay"}  # fmt: skip
    given = {field: getattr(args, name) for name, field in names.items()}
    recipe = PromptRecipe(**{field: value for field, value in given.items() if value is not None})
    event = None
    for event in train_prompts(initial, clips, recipe, weights=weights, device=device):
        say(f"step {event.step}, {event.seconds:.0f} s, loss {event.loss:.4f}")
        learned = {
            "trained_on": provenance["trained_on"],
            "steps": event.step,
            "created": provenance["created"],
        }
        save_checkpoint(event.model, path, {**initial.provenance, "prompts": learned}, dtype=torch.float16)
    assert event is not None
    return {"model": str(path), "step": event.step, "seconds": event.seconds, "loss": event.loss}


def peak_memory(device: torch.device) -> float | None:
    """The most memory that tensors took on a CUDA device so far, in MiB. None on others."""
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
