"""``vivim evaluate DATASET``: every usual score of a model on clips with true masks, nothing corrected."""

import argparse
from pathlib import Path

from vivim.cli.options import add_clips, add_device, add_model, say
from vivim.devices import choose_device
from vivim.registry.registry import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_clips(parser)
    add_model(parser)
    parser.add_argument(
        "--stills", action="store_true", help="frames are independent pictures: each goes through alone"
    )
    parser.add_argument(
        "--target",
        choices=("lesion", "organ"),
        default="lesion",
        help="what the model is to find; the starter knows both",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="also write pictures of the worst frames into this folder",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Score every clip, and print a table."""
    from vivim.evaluation.evaluate import evaluate
    from vivim.evaluation.report import summary, table, write_worst
    from vivim.network.targets import for_target

    model = for_target(load_model(args.model), args.target)
    clips = list(
        evaluate(
            args.dataset,
            model,
            device=args.device,
            leave_out=tuple(args.leave_out),
            stills=args.stills,
            part=args.part,
            report=say,
        )
    )
    print(table(clips))
    result = summary(clips)
    if args.pictures:
        written = write_worst(clips, model, choose_device(args.device), args.pictures)
        print(f"Wrote {len(written)} pictures of the worst frames to {args.pictures}")
        result["pictures"] = [str(path) for path in written]
    return result
