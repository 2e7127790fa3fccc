"""``vivim simulate DATASET``: how good masks get with 1, 3, 5 corrections, beside shape interpolation."""

import argparse

from vivim.cli.options import add_clips, add_device, add_model, numbers, say
from vivim.registry.registry import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_clips(parser)
    add_model(parser)
    parser.add_argument(
        "--corrections",
        type=numbers,
        default=[1, 3, 5],
        metavar="1,3,5",
        help="numbers of corrected frames to report at; 0 is before any correction",
    )
    parser.add_argument(
        "--choose",
        choices=("queue", "even", "both"),
        default="queue",
        help="who chooses the frames: the tool's queue, one by one; evenly spaced, their number known; or compare",
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Simulate on every clip, and print a table."""
    from vivim.evaluation.simulated_annotator import simulate
    from vivim.evaluation.simulation_report import summary, table

    model = load_model(args.model)
    results = list(
        simulate(
            args.dataset,
            model,
            args.corrections,
            device=args.device,
            leave_out=tuple(args.leave_out),
            choose=args.choose,
            report=say,
        )
    )
    print(table(results))
    return summary(results)
