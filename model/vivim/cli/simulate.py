"""``vivim simulate DATASET``: how good masks get with 1, 3, 5 corrections, or with how many clicks."""

import argparse

from vivim.cli.options import add_clips, add_device, add_model, numbers, positive, say
from vivim.errors import VivimError
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
        choices=("queue", "even", "both", "first"),
        default="queue",
        help="who chooses the frames: the tool's queue, one by one; evenly spaced, their number known; compare both; "
        "or the first frame alone, and forward from there, with J&F",
    )
    parser.add_argument(
        "--annotator",
        choices=("mask", "clicks"),
        default="mask",
        help="how a frame is corrected: with the true mask, or by clicks until Dice is 0.90",
    )
    parser.add_argument("--clicks", type=positive, default=5, metavar="N", help="most clicks a frame")
    parser.add_argument(
        "--per-frame",
        action="store_true",
        help="clicks on single frames that start without a mask: Dice after 1 to 10 of them, NoC85, NoC90",
    )
    parser.add_argument(
        "--stills", action="store_true", help="frames are independent pictures; with --per-frame"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Simulate on every clip, and print a table."""
    from vivim.evaluation.simulated_annotator import simulate
    from vivim.evaluation.simulation_report import summary, table

    by_clicks = args.annotator == "clicks"
    if args.per_frame and not by_clicks:
        raise VivimError("--per-frame is about clicks: add --annotator clicks.")
    if args.stills and not args.per_frame:
        raise VivimError("Stills have no frames around them to go on to: add --annotator clicks --per-frame.")
    if by_clicks and args.choose != "queue":
        raise VivimError("An annotator who clicks takes the frames of the queue: leave --choose away.")
    model, leave_out = load_model(args.model), tuple(args.leave_out)
    if args.per_frame:
        from vivim.evaluation.simulated_clicks import click_summary, click_table, simulate_clicks

        counted = list(
            simulate_clicks(
                args.dataset,
                model,
                stills=args.stills,
                device=args.device,
                leave_out=leave_out,
                part=args.part,
                report=say,
            )
        )
        print(click_table(counted))
        return click_summary(counted)
    results = list(
        simulate(
            args.dataset,
            model,
            args.corrections,
            device=args.device,
            leave_out=leave_out,
            choose=args.choose,
            clicks=args.clicks if by_clicks else 0,
            part=args.part,
            report=say,
        )
    )
    print(table(results))
    return summary(results)
