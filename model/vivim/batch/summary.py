"""``summary.csv``: a row for every video of a run, in the order they were given."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vivim.batch.jobs import Outcome
from vivim.csv_writer import CsvWriter
from vivim.leavings import flush, part_of, remove

NAME = "summary.csv"
COLUMNS = (
    "video", "status", "frames", "seconds", "frames_per_second", "lesion_frames", "mean_area_px", "largest_area_px",
    "mean_area_mm2", "reason",
)  # fmt: skip


def write_summary(outcomes: Iterable[Outcome], out: Path) -> Path:
    """Write the table in one piece; areas are means over the frames with a lesion, see `Outcome`.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    final = out / NAME
    part = part_of(final)
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            table = CsvWriter(file)
            table.writerow(COLUMNS)
            table.writerows(_row(outcome) for outcome in outcomes)
        flush(part)
        os.replace(part, final)
    finally:
        remove(part)
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
