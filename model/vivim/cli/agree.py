"""``vivim agree VIDEO|STUDY --readers a,b[,c]``: how well readers agree, and their consensus for who decides."""

import argparse
from pathlib import Path
from typing import Any

from vivim.cli.options import say
from vivim.errors import SessionError

METHODS = ("staple", "majority")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_study(parser, "a video, or a folder of videos, with sessions of several readers")
    parser.add_argument(
        "--consensus",
        metavar="NAME",
        help="also propose the readers' consensus to reader NAME, who decides; frames that NAME has corrected stay",
    )
    parser.add_argument(
        "--method", choices=METHODS, default="staple", help="how masks become one (default: staple)"
    )


def add_study(parser: argparse.ArgumentParser, help: str) -> None:
    """Declare the video or study, and ``--readers``."""
    parser.add_argument("study", metavar="VIDEO|STUDY", type=Path, help=help)
    parser.add_argument(
        "--readers",
        type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
        metavar="a,b",
        help="names of the readers, with commas between (default: all who worked by themselves)",
    )


def run(args: argparse.Namespace) -> dict:
    """Compare the readers of each video, print tables, and propose the consensus if it is asked for."""
    from vivim.cli.progress import Progress
    from vivim.review.agreement import pooled
    from vivim.review.consensus import independent
    from vivim.review.study import clips_with
    from vivim.review.tables import agreement_table, clip_table

    if args.consensus in (args.readers or ()):
        raise SessionError(f"{args.consensus} is one of the readers. Name another reader, who decides.")
    found, proposed, alone = {}, [], []
    for clip in clips_with(args.study, args.readers):
        with clip.opened(args.readers) as opened:
            sessions = opened if args.readers else independent(opened)
            if len(sessions) < 2:
                alone.append(clip.name)
                say(f"{clip.name}: passed over, it has work of {', '.join(sessions) or 'no reader'} only")
                continue
            with Progress(f"{clip.name}: comparing") as progress:
                found[clip.name] = clip.agreement(sessions, progress)
            if args.consensus:
                proposed.append(_propose(clip.name, sessions, args.consensus, args.method))
    if not found:
        raise SessionError(f"No video of {args.study} has sessions of two of the readers asked for.")
    together = pooled(list(found.values()))
    print(agreement_table(together).text())
    if len(found) > 1:
        print(clip_table(found).text())
    for one in proposed:
        frames = ", ".join(str(frame["frame"]) for frame in one["queue"][:10])
        print(
            f"{one['clip']}: proposed {len(one['queue'])} frames to {args.consensus}; look first at {frames}"
        )
    return {
        **{key: value for key, value in together.as_dict().items() if key != "frames"},
        "clips": [{"clip": name, **one.as_dict()} for name, one in found.items()],
        "passed_over": alone,
        "consensus": proposed,
    }


def _propose(clip: str, sessions: dict[str, Any], reader: str, method: str) -> dict[str, Any]:
    """Propose the consensus to a reader, and return the order in which the frames are to be decided."""
    from vivim.cli.progress import Progress
    from vivim.review.consensus import propose_consensus
    from vivim.session import Session

    folder = next(iter(sessions.values())).folder
    with Session.open(folder, reader=reader) as target, Progress(f"{clip}: consensus") as progress:
        queue = propose_consensus(list(sessions.values()), target, method, list(sessions), progress)
    return {
        "clip": clip,
        "reader": reader,
        "method": method,
        "queue": [
            {"frame": one.frame, "disagreement": one.disagreement, "priority": one.priority} for one in queue
        ],
    }
