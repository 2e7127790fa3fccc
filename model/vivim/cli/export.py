"""``vivim export SESSION -o OUT --format ...``: write the masks of a session; the session is only read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.cli.arguments import add_cleaning, add_formats, chosen_formats, cleaning, part

if TYPE_CHECKING:
    from vivim.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("session", metavar="SESSION", type=Path, help="a session folder, or its video")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="folder to write into"
    )
    add_formats(parser)
    parser.add_argument(
        "--only",
        choices=["all", "corrected"],
        default="all",
        help="all frames (the default), or those a person has corrected or accepted",
    )
    parser.add_argument(
        "--frames",
        type=part,
        metavar="START:STOP",
        help="of those, only frames START up to, not including, STOP; the first frame is 0",
    )
    add_cleaning(parser)


def run(args: argparse.Namespace) -> dict:
    """Export one session."""
    from vivim.session import Session

    with Session.open(args.session, read_only=True) as session:
        files = write(
            session,
            args.output,
            chosen_formats(args),
            only=args.only,
            frames=args.frames,
            label=args.session.name,
            **cleaning(args),
        )
    for name, path in files.items():
        print(f"{name}: {path}")
    return {"session": str(args.session), "files": files}


def write(
    session: Session, out: Path, formats: tuple[str, ...], *, label: str, **options: Any
) -> dict[str, str]:
    """Export with progress and the options of `vivim.export.export`; returns what was written where, by format."""
    from vivim.cli.progress import Progress
    from vivim.export import export

    files = {}
    with Progress(f"{label}: writing") as progress:
        for event in export(session, out, formats, **options):
            progress(event.done, event.total, note=event.format)
            files[event.format] = str(event.path)
    return files
