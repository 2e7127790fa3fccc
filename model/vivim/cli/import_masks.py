"""``vivim import SESSION_OR_VIDEO MASKS``: bring masks made elsewhere into a session."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("session", metavar="SESSION", type=Path, help="a session folder, or a video")
    parser.add_argument(
        "masks",
        metavar="MASKS",
        type=Path,
        help="a folder of pictures, of labelme JSON or of YOLO texts; a TIFF stack, NIfTI, NRRD (3D Slicer), COCO or "
        "labelme JSON, CVAT XML: one mask a frame, or pictures named by the number of their frame, from 0",
    )
    parser.add_argument(
        "--as",
        dest="status",
        choices=["corrected", "proposed"],
        default="corrected",
        help="count as a person's work (the default), or as a proposal that a model may replace",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="also replace frames that a person has corrected or accepted"
    )
    parser.add_argument(
        "--one-class", action="store_true", help="take all that is not background for class 1"
    )
    parser.add_argument(
        "--as-classes", action="store_true", help="take values for classes, however high (up to 255)"
    )
    parser.add_argument(
        "--include-empty",
        action="store_true",
        help="pictures that are listed without an annotation are frames without a lesion (default: left alone)",
    )
    parser.add_argument(
        "--number-group",
        type=int,
        metavar="N",
        help="which group of digits in a file's name is the frame's number, 1 for the first (default: found)",
    )
    parser.add_argument(
        "--first-number",
        type=int,
        default=0,
        metavar="N",
        help="number of the video's first frame in names of files (default: 0)",
    )


def run(args: argparse.Namespace) -> dict:
    """Import into one session, which is made if there is none yet."""
    from vivim.cli.progress import Progress
    from vivim.io.import_masks import import_masks
    from vivim.io.import_source import ReadOptions
    from vivim.session import Session

    written: list[int] = []
    left: list[int] = []
    with (
        Session.open(args.session, lazy=True) as session,
        Progress(f"{args.masks.name}: importing") as progress,
    ):
        events = import_masks(
            session,
            args.masks,
            args.status,
            overwrite=args.overwrite,
            one_class=args.one_class,
            as_classes=args.as_classes,
            options=ReadOptions(args.number_group, args.first_number, args.include_empty),
        )
        for event in events:
            progress(event.done, event.total, note=event.stage)
            if event.stage == "write":
                (written if event.written else left).append(event.frame)
        folder = session.folder
    print(f"{args.session}: {len(written)} frames {args.status}")
    if left:
        print(f"{len(left)} frames left as a person made them; --overwrite replaces them")
    return {"session": str(folder), "status": args.status, "written": written, "left": left}
