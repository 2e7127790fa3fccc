"""The command ``vivim train``: datasets in, a model file out.

``vivim train CLIPS... --stills STILLS... -o RUN``; each dataset is FOLDER, or FOLDER:LABEL for one label of label
pictures, and may be weighted as FOLDER@WEIGHT.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from vivim.device import choose_device
from vivim.network import VivimConfig
from vivim.training.config import TrainConfig
from vivim.training.data import Clip, load_dataset
from vivim.training.progress import TrainEvent
from vivim.training.trainer import train

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
    parser.add_argument("--size", default="b0", help="b0 to b5")
    parser.add_argument("--input-size", type=int, default=256, help="height and width in pixels")
    parser.add_argument("--initial", metavar="MODEL", help="weights to start from")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--teacher-weight", type=float, default=0.0, help="also learn from LiteMedSAM")
    parser.add_argument("--no-record", action="store_true", help="launch every kernel of a step by itself")
    defaults = TrainConfig()
    for name in ("steps", "validate_every", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    for name in ("learning_rate", "average_decay", "seconds", "pause_after"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))


def weighted(
    specs: list[str], size: tuple[int, int], stills: bool, leave_out: tuple[str, ...]
) -> tuple[list, list]:
    """Load datasets given as ``FOLDER[:LABEL][@WEIGHT]``; a dataset's weight is shared by its clips."""
    clips: list[Clip] = []
    weights: list[float] = []
    for spec in specs:
        folder, _, weight = spec.partition("@")
        loaded = load_dataset(folder, size, stills, leave_out)
        clips += loaded
        weights += [float(weight or len(loaded)) / len(loaded)] * len(loaded)
    return clips, weights


def phantoms(count: int, size: tuple[int, int]) -> list[Clip]:
    """Synthetic clips with known lesions, half speckle and half mucosa."""
    import numpy as np

    from vivim.preprocess import resize_frame
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
    stills: list[Clip], still_weights: list[float],
) -> None:  # fmt: skip
    """Add phantoms to the clips and implants to the stills, as asked."""
    count, _, weight = args.phantoms.partition("@")
    if int(count):
        clips += phantoms(int(count), size)
        clip_weights += [float(weight or count) / int(count)] * int(count)
    for spec in args.implants:
        from vivim.training.implant import implanted

        folder, _, weight = spec.partition("@")
        stills.append(implanted(load_dataset(folder, size, stills=True), IMPLANTS, args.seed))
        still_weights.append(float(weight or 1))


def line(event: TrainEvent) -> str:
    """One line of the live table."""
    text = (
        f"step {event.step:6d}  {event.seconds:6.0f} s  loss {event.loss:.3f}  dice {event.dice_alone:.3f}  "
        f"guided {event.dice_guided:.3f} (propagated alone {event.dice_prior:.3f})"
    )
    if event.validation:
        text += "  validation " + " ".join(f"{name} {dice:.3f}" for name, dice in event.validation.items())
    return text


def run(args: argparse.Namespace) -> dict:
    """Train; returns the summary that ``--json`` prints."""
    size = (args.input_size, args.input_size)
    leave_out = tuple(args.leave_out)
    clips, clip_weights = weighted(args.datasets, size, False, leave_out)
    stills, still_weights = weighted(args.stills, size, True, leave_out)
    add_synthetic(args, size, clips, clip_weights, stills, still_weights)
    validation = [clip for folder in args.validate for clip in load_dataset(folder, size)]
    config = TrainConfig(
        network=VivimConfig(size=args.size, guided=True, input_size=size, drop_path=0.1),
        steps=args.steps,
        validate_every=args.validate_every,
        learning_rate=args.learning_rate,
        average_decay=args.average_decay,
        final_learning_rate=args.learning_rate / 100,
        seconds=args.seconds,
        pause_after=args.pause_after,
        teacher_weight=args.teacher_weight,
        seed=args.seed,
        record=not args.no_record,
    )
    initial = None
    if args.initial:
        from vivim.network.checkpoints import load_checkpoint

        initial = load_checkpoint(Path(args.initial))
    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    device = choose_device(args.device)
    provenance = {
        "trained_on": {clip.name: len(clip.frames) for clip in [*clips, *stills]},
        "left_out": list(leave_out),
        "recipe": {k: v for k, v in asdict(config).items() if k not in ("seconds", "pause_after")},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    print(f"{len(clips)} clips, {sum(len(s.frames) for s in stills)} stills, on {device}", flush=True)
    event = None
    with (output.parent / f"{output.name}.log.jsonl").open("a") as log:
        for event in train(
            clips, stills, output, config, validation=validation, clip_weights=clip_weights,
            still_weights=still_weights, initial=initial, device=device, provenance=provenance,
        ):  # fmt: skip
            print(line(event), flush=True)
            log.write(json.dumps(asdict(event)) + "\n")
            log.flush()
    return {"model": str(output / "model.safetensors"), **(asdict(event) if event else {})}
