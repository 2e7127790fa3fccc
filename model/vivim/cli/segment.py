"""``vivim segment VIDEO... -o OUT``: propose masks for every frame and write them to ``OUT/<stem>/``.

The work on each video is kept as a session in ``OUT/<stem>/session.vivim``, which the viewer opens for corrections.
``OUT/manifest.jsonl`` says which are done: the same command again does what is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.cli.batch_commands import add_cluster, go
from vivim.cli.options import (
    add_allow_damaged,
    add_cleaning,
    add_device,
    add_formats,
    add_model,
    chosen_formats,
    cleaning,
    positive,
)
from vivim.devices import PRECISIONS, choose_device, is_remote
from vivim.inference.sliding_windows import MODES
from vivim.registry.registry import STARTER, model_path
from vivim.settings import settings

if TYPE_CHECKING:
    from vivim.batch.jobs import Segmenting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        type=Path,
        help="videos, session folders, folders of videos, or globs",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="folder to write into"
    )
    add_model(parser)
    add_device(parser, remote=True)
    parser.add_argument(
        "--clip-length",
        type=positive,
        metavar="N",
        help="frames that go through the network together (default: as in the settings, at first 8)",
    )
    parser.add_argument(
        "--windows",
        choices=MODES,
        default="every",
        help="each frame in one window, the mean of overlapping ones, or a window around each frame",
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="windows at once; by default what memory holds"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="auto: bfloat16 on GPUs that have it, else float32",
    )
    parser.add_argument(
        "--area",
        type=area,
        metavar="AREA",
        help="show the model only this part of the picture: auto (without black borders, letters and scales), or "
        "TOP,LEFT,BOTTOM,RIGHT in pixels; masks are still of the whole picture",
    )
    add_formats(parser)
    add_cleaning(parser)
    add_allow_damaged(parser)
    add_cluster(parser)
    parser.add_argument(
        "--split",
        type=positive,
        metavar="N",
        help="on a cluster, cut videos of more than N frames into ranges that several workers share (default: 4096)",
    )


def area(text: str) -> tuple[int, ...] | str:
    """``"auto"``, or four numbers."""
    if text == "auto":
        return text
    sides = text.split(",")
    if len(sides) != 4 or not all(side.strip().isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither auto nor TOP,LEFT,BOTTOM,RIGHT in pixels such as 40,60,440,580"
        )
    return tuple(int(side) for side in sides)


def run(args: argparse.Namespace) -> dict:
    """Segment all videos that are not done yet. One that fails does not stop the others."""
    from vivim.batch.inputs import find
    from vivim.batch.process_video import models

    found = find(args.videos, args.output)
    if args.cluster is None and not is_remote(args.device):
        choose_device(args.device)
    model = models.load(args.model)
    result = go(found, args, _options(args, model.version), args.device)
    return {"model": model.name, "version": model.version, **result}


def _options(args: argparse.Namespace, version: str) -> Segmenting:
    from vivim.batch.jobs import Segmenting
    from vivim.batch.splitting import SPLIT

    return Segmenting(
        model=_for_any_machine(args.model),
        version=version,
        device=args.device,
        clip_length=args.clip_length or settings().clip_length,
        windows=args.windows,
        batch_size=args.batch_size,
        precision=args.precision,
        formats=chosen_formats(args),
        area=args.area,
        split=None if args.cluster is None else args.split or SPLIT,
        **cleaning(args),
    )


def _for_any_machine(name: str) -> str:
    """A model as a worker on another machine finds it: the starter is in the package, others are files."""
    return STARTER if name == STARTER else str(model_path(name).absolute())
