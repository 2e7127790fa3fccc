"""Area and centroid of every lesion in every frame, as a table."""

from __future__ import annotations

import csv
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from skimage.measure import label, regionprops

if TYPE_CHECKING:
    from vivim.session import Session

COLUMNS = (
    "frame", "time_s", "status", "class", "lesion", "area_px", "centroid_row_px", "centroid_column_px",
    "area_mm2", "centroid_row_mm", "centroid_column_mm",
)  # fmt: skip


def write_measurements(session: Session, path: Path, frames: Sequence[int]) -> Generator[int, None, None]:
    """Write one row for each connected lesion of each frame; yields how many frames are done.

    A frame without a lesion gets one row with area 0 and no centroid. Columns in mm are empty where the size of a
    pixel is not known. Lesions are numbered within a frame, largest first.
    """
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for done, t in enumerate(frames, start=1):
            table.writerows(rows_of(session, t))
            yield done


def rows_of(session: Session, t: int) -> list[tuple]:
    """Rows of one frame, in the order of `COLUMNS`."""
    mask = np.asarray(session.masks[t])
    time = f"{session.video.frame_time(t):.4f}" if session.fps else ""
    spacing = session.pixel_spacing_mm
    head = (t, time, session.status(t))
    regions = [
        (int(value), region)
        for value in np.unique(mask[mask > 0])
        for region in regionprops(label(mask == value, connectivity=2))
    ]
    if not regions:
        return [(*head, "", 0, 0, "", "", 0 if spacing else "", "", "")]
    regions.sort(key=lambda found: -found[1].area)
    return [
        (
            *head,
            value,
            number,
            int(region.area),
            *(f"{c:.3f}" for c in region.centroid),
            *_in_mm(region, spacing),
        )
        for number, (value, region) in enumerate(regions, start=1)
    ]


def _in_mm(region, spacing: tuple[float, float] | None) -> tuple[str, str, str]:
    """Area in mm² and centroid in mm from the picture's upper left corner."""
    if spacing is None:
        return "", "", ""
    row, column = (c * s for c, s in zip(region.centroid, spacing, strict=True))
    return f"{region.area * spacing[0] * spacing[1]:.4f}", f"{row:.4f}", f"{column:.4f}"
