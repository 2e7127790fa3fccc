"""``vivim segment VIDEO... -o OUT``: propose masks for every frame and write them to ``OUT/<stem>/``.

The work on each video is kept as a session in ``OUT/<stem>/session.vivim``, which the viewer opens for corrections.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.cli.arguments import (
    add_cleaning,
    add_device,
    add_formats,
    add_model,
    chosen_formats,
    cleaning,
    positive,
)
from vivim.device import PRECISIONS
from vivim.errors import VivimError
from vivim.windows import MODES

if TYPE_CHECKING:
    from vivim.network import Vivim

SESSION = "session.vivim"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("videos", nargs="+", metavar="VIDEO", type=Path, help="videos or session folders")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="folder to write into"
    )
    add_model(parser)
    add_device(parser)
    parser.add_argument(
        "--clip-length", type=positive, metavar="N", help="frames that go through the network together"
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
    add_formats(parser)
    add_cleaning(parser)


def run(args: argparse.Namespace) -> dict:
    """Segment one video after another; one that fails does not stop the others."""
    from vivim.device import choose_device
    from vivim.models import default_model_name, load_model

    choose_device(args.device)
    model = load_model(args.model or default_model_name())
    done, failed = [], []
    for video, stem in zip(args.videos, stems(args.videos), strict=True):
        try:
            done.append(segment(video, args.output / stem, model, args))
        except VivimError as error:
            failed.append(str(error) if video.name in str(error) else f"{video}: {error}")
    if failed:
        counted = f"{len(failed)} of {len(args.videos)} videos failed. " if len(args.videos) > 1 else ""
        raise VivimError(counted + " ".join(failed))
    return {"model": model.name, "version": model.version, "videos": done}


def stems(videos: list[Path]) -> list[str]:
    """A folder name for each video: its name without the ending; a name that comes again gets a number."""
    names: list[str] = []
    for video in videos:
        path = video.absolute()
        stem = path.name if path.is_dir() else path.stem
        if path.suffix == ".vivim":  # a session, named after its video with this added
            stem = Path(path.stem).stem
        number, name = 1, stem
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def segment(video: Path, out: Path, model: Vivim, args: argparse.Namespace) -> dict[str, Any]:
    """Propose masks for one video and export them."""
    from vivim.cli.export import write
    from vivim.cli.progress import Progress
    from vivim.inference import CLIP_LENGTH, propose
    from vivim.session import Session

    began = time.monotonic()
    with Session.open(video, folder=out / SESSION) as session:
        events = propose(
            session,
            model,
            clip_length=args.clip_length or CLIP_LENGTH,
            device=args.device,
            windows=args.windows,
            batch_size=args.batch_size,
            precision=args.precision,
        )
        with Progress(f"{video.name}: proposing") as progress:
            for event in events:
                progress(event.done, event.total, event.seconds_left)
        seconds = time.monotonic() - began
        files = write(session, out, chosen_formats(args), label=video.name, **cleaning(args))
        print(f"{video}: {len(session)} frames in {seconds:.1f} s, written to {out}")
        return {
            "video": str(video),
            "frames": len(session),
            "seconds": round(seconds, 2),
            "session": str(session.folder),
            "files": files,
        }
