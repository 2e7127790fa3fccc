"""``vivim report SESSION|STUDY``: progress, effort and agreement, as text, JSON, or one page of HTML."""

import argparse
from pathlib import Path

from vivim.cli.agree import add_study
from vivim.cli.options import positive
from vivim.errors import ExportError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_study(parser, "a session, a video, or a folder of videos with their sessions")
    parser.add_argument(
        "-o", "--output", metavar="FILE.html", type=Path, help="write one page of HTML with tables and plots"
    )
    parser.add_argument(
        "--idle",
        type=positive,
        default=120,
        metavar="SECONDS",
        help="a longer time without an edit counts as a break (default: 120)",
    )
    parser.add_argument(
        "--number-videos",
        action="store_true",
        help="call the videos 'video 1' and so on, in order of their names: for files that are named after patients",
    )


def run(args: argparse.Namespace) -> dict:
    """Gather the report, print its tables, and write the page."""
    from vivim.cli.progress import Progress
    from vivim.review.report import study_report
    from vivim.review.tables import report_tables
    from vivim.utils.atomic_files import atomic_write

    if args.output is not None and args.output.suffix.lower() not in (".html", ".htm"):
        raise ExportError(f"A report is a page of HTML. Name a file such as {args.output.stem}.html.")
    with Progress("videos") as progress:
        found = study_report(
            args.study,
            readers=args.readers,
            idle_seconds=args.idle,
            numbered=args.number_videos,
            progress=progress,
        )
    result = found.as_dict()
    if args.output is None:
        print("\n\n".join(table.text() for table in report_tables(found)))
        return result
    from vivim.review.report_html import as_html

    page = as_html(found)
    with atomic_write(args.output) as part:
        part.write_text(page, encoding="utf-8")
    print(f"Wrote {args.output}")
    return {**result, "page": str(args.output)}
