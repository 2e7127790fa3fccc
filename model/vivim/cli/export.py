"""``vivim export SESSION... -o OUT --format ...``: write the masks of sessions, which are only read.

One session is written into OUT itself. Several, a folder of them, a glob, or any number with ``--cluster``, are written
into ``OUT/<name>/`` each, with a manifest: the same command again does what is missing or has changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.cli.batch_commands import add_cluster, go
from vivim.cli.options import (
    WHAT_TO_DO,
    add_allow_damaged,
    add_cleaning,
    add_formats,
    chosen_formats,
    cleaning,
    left_out,
    part,
    say,
)
from vivim.errors import BatchError

if TYPE_CHECKING:
    from vivim.batch.jobs import Exporting
    from vivim.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "sessions",
        nargs="+",
        metavar="SESSION",
        type=Path,
        help="session folders or their videos, folders of sessions, or globs",
    )
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
    add_allow_damaged(parser)
    add_cluster(parser)


def run(args: argparse.Namespace) -> dict:
    """Export one session, or all that are not done yet."""
    from vivim.batch.inputs import find, is_one

    if len(args.sessions) == 1 and args.cluster is None and is_one(args.sessions[0]):
        return _export_one(args.sessions[0], args)
    return go(find(args.sessions, args.output, sessions=True), args, _options(args))


def _options(args: argparse.Namespace) -> Exporting:
    from vivim.batch.jobs import Exporting

    return Exporting(chosen_formats(args), args.only, args.frames, **cleaning(args))


def _export_one(path: Path, args: argparse.Namespace) -> dict:
    from vivim.session import Session

    with Session.open(path, read_only=True) as session:
        files, damaged = write(
            session,
            args.output,
            chosen_formats(args),
            only=args.only,
            frames=args.frames,
            label=path.name,
            **cleaning(args),
        )
    for name, written in files.items():
        print(f"{name}: {written}")
    result = {"session": str(path), "files": files, "damaged": list(damaged)}
    if damaged and not args.allow_damaged:
        raise BatchError(f"{left_out(damaged)} {WHAT_TO_DO}", result)
    if damaged:
        say(left_out(damaged))
    return result


def write(
    session: Session, out: Path, formats: tuple[str, ...], *, label: str, **options: Any
) -> tuple[dict[str, str], tuple[int, ...]]:
    """Export with progress and the options of `vivim.io.export.export`.

    Returns what was written where, by format, and the damaged frames that were left out.
    """
    from vivim.cli.progress import Progress
    from vivim.io.export import export

    files, damaged = dict[str, str](), tuple[int, ...]()
    with Progress(f"{label}: writing") as progress:
        for event in export(session, out, formats, **options):
            progress(event.done, event.total, note=event.format)
            files[event.format] = str(event.path)
            damaged = event.damaged
    return files, damaged
