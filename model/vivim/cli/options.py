"""Options that several commands share."""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vivim.devices import DEVICES, is_remote
from vivim.errors import did_you_mean
from vivim.io.formats import FORMATS
from vivim.registry.registry import default_model_name
from vivim.remote.config import preferred_device


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare ``--model``."""
    parser.add_argument(
        "--model",
        default=default_model_name(),
        metavar="M",
        help="a name from `vivim models list`, or a file (default: the one set by `vivim models default`, "
        "at first the starter)",
    )


def add_clips(parser: argparse.ArgumentParser) -> None:
    """Declare the data set whose clips are gone through, and ``--leave-out``."""
    parser.add_argument(
        "dataset", metavar="DATASET", type=Path, help="a folder of clips with frames/ and masks/, or one clip"
    )
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="CLIP", help="name of a clip to pass over"
    )
    parser.add_argument(
        "--kept-out",
        action="store_const",
        const="kept out",
        default="all",
        dest="part",
        help="take only the pictures that the starter was never trained on",
    )


WHAT_TO_DO = "Draw these frames anew, or allow this with --allow-damaged; `vivim check` says what is wrong."


def add_allow_damaged(parser: argparse.ArgumentParser) -> None:
    """Declare ``--allow-damaged``."""
    parser.add_argument(
        "--allow-damaged",
        action="store_true",
        help="leaving out frames whose masks are damaged is no failure; they are named all the same",
    )


def left_out(frames: Collection[int]) -> str:
    """Say which damaged frames a command has left out."""
    from vivim.session.damage_check import damage_text

    return f"{damage_text(frames)}; they are left out, or empty where a frame is found by its place."


def say(text: str) -> None:
    """Progress for people, beside the results on stdout."""
    print(text, file=sys.stderr, flush=True)


def add_device(parser: argparse.ArgumentParser, remote: bool = False) -> None:
    """Declare ``--device``. With `remote`, that of a server may be given too."""
    if not remote:
        parser.add_argument(
            "--device",
            choices=DEVICES,
            default=preferred_device(remote=False),
            help="where to compute (default: the one in the settings, at first auto)",
        )
        return
    parser.add_argument(
        "--device",
        type=device_or_server,
        default=preferred_device(),
        metavar="DEVICE",
        help=f"where to compute: {', '.join(DEVICES)}, or a server's: remote:https://host:port (default: the one in "
        "the settings, at first auto)",
    )


def device_or_server(text: str) -> str:
    """A device of this machine, or the address of a server as a device."""
    if not is_remote(text) and text not in DEVICES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(DEVICES)}, nor written remote:https://host:port"
        )
    return text


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
            known = ", ".join(FORMATS)
            raise argparse.ArgumentTypeError(
                f"unknown format {name!r}.{did_you_mean(name, FORMATS)} There are {known}"
            )
    return names


def chosen_formats(args: argparse.Namespace) -> tuple[str, ...]:
    """The formats asked for, each once. Png by default."""
    return tuple(dict.fromkeys(args.formats or ["png"]))


def add_cleaning(parser: argparse.ArgumentParser) -> None:
    """Declare what is done to masks before they are written."""
    parser.add_argument(
        "--min-area",
        type=positive,
        default=0,
        metavar="PX",
        help="leave out parts of fewer pixels (default: none)",
    )
    parser.add_argument("--fill-holes", action="store_true", help="fill what a mask encloses")


def cleaning(args: argparse.Namespace) -> dict[str, Any]:
    """The cleaning asked for, as `vivim.io.export.export` takes it."""
    return {"min_area_px": args.min_area, "fill_holes": args.fill_holes}


def part(text: str) -> tuple[int | None, int | None]:
    """``"10:200"`` as a range of frames, its last not included. Either number may be left out."""
    start, colon, stop = (word.strip() for word in text.partition(":"))
    if not colon or not all(word.isdecimal() for word in (start, stop) if word):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of frames such as 10:200, 10: or :200")
    return (int(start) if start else None, int(stop) if stop else None)


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
