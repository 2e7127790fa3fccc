"""``summary.csv``: a row for every video of a run, in the order they were given."""

from collections.abc import Iterable
from pathlib import Path

from vivim.batch.jobs import Outcome
from vivim.errors import BatchError
from vivim.utils.atomic_files import atomic_write
from vivim.utils.csv_writer import CsvWriter

NAME = "summary.csv"
COLUMNS = (
    "video", "status", "frames", "seconds", "frames_per_second", "lesion_frames", "mean_area_px", "largest_area_px",
    "mean_area_mm2", "reason",
)  # fmt: skip


def write_summary(outcomes: Iterable[Outcome], out: Path) -> Path:
    """Write the table in one piece. Areas are means over the frames with a lesion, see `Outcome`."""
    final = out / NAME
    try:
        with (
            atomic_write(final) as part,
            # names of files may be no UTF-8
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            table = CsvWriter(file)
            table.writerow(COLUMNS)
            table.writerows(_row(outcome) for outcome in outcomes)
    except OSError as error:
        raise BatchError(
            f"Cannot write {final}: {error.strerror or error}. Free some space there or check that you may write, then "
            "run the same command again: it goes on with what is missing."
        ) from error
    return final


def _row(outcome: Outcome) -> list[object]:
    if not outcome.frames:
        return [outcome.stem, outcome.status, *[""] * (len(COLUMNS) - 3), outcome.reason]
    values = (getattr(outcome, name) for name in COLUMNS[2:-1])
    return [
        outcome.stem,
        outcome.status,
        *("" if value is None else value for value in values),
        outcome.reason,
    ]
