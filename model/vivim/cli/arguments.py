"""Options that several commands share."""

from __future__ import annotations

import argparse

from vivim.device import DEVICES

FORMATS = ("png", "tiff", "mp4", "csv")
"""Those of `vivim.export.FORMATS`, written again so that help and usage errors need not load what writes them."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare ``--model``."""
    parser.add_argument(
        "--model",
        metavar="M",
        help="a name from `vivim models list`, or a file (default: the one set by `vivim models default`, "
        "at first the starter)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare ``--device``."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute (default: auto)")


def add_formats(parser: argparse.ArgumentParser) -> None:
    """Declare ``--format``, which may be repeated or hold several names with commas between."""
    parser.add_argument(
        "--format",
        dest="formats",
        action="extend",
        type=formats,
        metavar="FORMAT",
        help=f"one of {', '.join(FORMATS)}; may be repeated (default: png)",
    )


def formats(text: str) -> list[str]:
    """``"png,csv"`` as a list of formats that exist."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"unknown format {name!r}: there are {', '.join(FORMATS)}")
    return names


def chosen_formats(args: argparse.Namespace) -> tuple[str, ...]:
    """The formats asked for, each once; png by default."""
    return tuple(dict.fromkeys(args.formats or ["png"]))


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def numbers(text: str) -> list[int]:
    """``"1,3,5"`` as a list of whole numbers from 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,3,5")
    return [int(part) for part in parts]
