"""``vivim release STUDY -o OUT``: the approved frames of a study as a data set to publish.

``vivim release -o OUT --check`` compares every file with its checksum.
"""

import argparse
from pathlib import Path

from vivim.cli.options import formats
from vivim.errors import BatchError, ExportError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", type=Path, help="a folder of videos with their sessions"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="a new folder to write"
    )
    parser.add_argument(
        "--split",
        choices=("patient", "clip"),
        default="patient",
        help="keep all clips of a patient in one part (the default), or split clip by clip",
    )
    parser.add_argument(
        "--reader", metavar="NAME", help="whose session, where several of a video are approved"
    )
    parser.add_argument(
        "--patients",
        type=Path,
        metavar="FILE.csv",
        help="a table with the columns video and patient, where neither DICOM headers nor folders tell",
    )
    parser.add_argument(
        "--format",
        dest="formats",
        action="extend",
        type=formats,
        default=[],
        metavar="FORMAT",
        help="also write the masks in this format; may be repeated",
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare OUT with its checksums")


def run(args: argparse.Namespace) -> dict:
    """Write a release, or check one."""
    from vivim.cli.progress import Progress
    from vivim.review.data_card import PARTS, SUMS, counts_table
    from vivim.review.release import check_release, release, table_of_patients

    if args.check:
        problems = check_release(args.output)
        if problems:
            raise BatchError(
                f"{args.output} is not as it was released: {' '.join(problems)}", {"problems": problems}
            )
        print(f"{args.output}: every file is as it was released")
        return {"release": str(args.output), "problems": []}
    if args.study is None:
        raise ExportError("Name the folder of the study: vivim release STUDY -o OUT.")
    with Progress("clips") as progress:
        found = release(
            args.study,
            args.output,
            split=args.split,
            reader=args.reader,
            formats=args.formats,
            patients=None if args.patients is None else table_of_patients(args.patients),
            progress=progress,
        )
    print(counts_table(found).text())
    print(f"Wrote {args.output}. Read its README.md, and look at the pictures, before you publish it.")
    return {
        "release": str(args.output),
        "parts": {part: found.counts(part) for part in PARTS},
        "clips": [{"clip": one.name, "part": one.part, "frames": one.frames} for one in found.clips],
        "not_approved": found.not_approved,
        "checksums": str(args.output / SUMS),
    }
