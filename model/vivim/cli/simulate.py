"""``vivim simulate DATASET``: how good masks get with 1, 3, 5 corrections, beside shape interpolation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vivim.cli.arguments import add_device, add_model, numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "dataset", metavar="DATASET", type=Path, help="a folder of clips with frames/ and masks/, or one clip"
    )
    add_model(parser)
    parser.add_argument(
        "--corrections",
        type=numbers,
        default=[1, 3, 5],
        metavar="1,3,5",
        help="numbers of corrected frames to report at; 0 is before any correction",
    )
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="CLIP", help="name of a clip to pass over"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Simulate on every clip, and print a table."""
    from vivim.models import default_model_name, load_model
    from vivim.simulate import simulate, summary, table

    model = load_model(args.model or default_model_name())
    results = list(
        simulate(
            args.dataset,
            model,
            args.corrections,
            device=args.device,
            leave_out=tuple(args.leave_out),
            report=lambda text: print(text, file=sys.stderr, flush=True),
        )
    )
    print(table(results))
    return summary(results)
