"""Area, outline, diameters and centroid of every lesion in every frame, as a table."""

from collections.abc import Generator
from dataclasses import astuple, replace
from pathlib import Path

from vivim.analysis.calibration import Scale, regions_of, scale_of, scale_of_picture
from vivim.analysis.measurements import Measured, measure
from vivim.imaging.components import Lesion
from vivim.io.mask_source import Work
from vivim.utils.csv_writer import CsvWriter

MEASURED = ("area", "perimeter", "diameter", "normal", "centroid_row", "centroid_column")
COLUMNS = (
    "frame", "time_s", "status", "class", "class_name", "lesion",
    *(f"{name}_px" for name in MEASURED),
    "area_mm2", *(f"{name}_mm" for name in MEASURED[1:]),
    "pixel_height_mm", "pixel_width_mm", "scale",
)  # fmt: skip


def write_measurements(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one row for each lesion of each frame. Yields how many frames are done.

    Lengths in pixels count heights of a pixel: where it is wider than high, each counts by its width. A frame without a
    lesion gets one row with area 0. Columns in mm are empty where no pixel size is known; ``scale`` says why.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = CsvWriter(file)
        table.writerow(COLUMNS)
        for done, t in enumerate(work.frames, start=1):
            table.writerows(rows_of(work, t))
            yield done


def rows_of(work: Work, t: int) -> list[list[str | int]]:
    """Rows of one frame, in the order of `COLUMNS`."""
    source = work.source
    head: list[str | int] = [t, f"{source.video.frame_time(t):.4f}" if source.fps else "", source.status(t)]
    regions, spacing = regions_of(source.video), source.pixel_spacing_mm
    aspect = source.video.pixel_aspect
    rows = [
        [*head, *_row(work, lesion, scale_of(lesion, regions, spacing), aspect)]
        for lesion in work.lesions.of(t)
    ]
    if rows:
        return rows
    scale, none = scale_of_picture(regions, spacing), [""] * (len(MEASURED) - 1)
    return [[*head, "", "", 0, 0, *none, 0 if scale.spacing_mm else "", *none, *_columns(scale)]]


def _row(work: Work, lesion: Lesion, scale: Scale, aspect: float) -> list[str | int]:
    in_mm = _texts(measure(lesion, scale.spacing_mm)) if scale.spacing_mm else [""] * len(MEASURED)
    return [
        lesion.category,
        work.category(lesion.category),
        lesion.id,
        lesion.area,
        *_texts(replace(measure(lesion, (1.0, aspect)), centroid_column=measure(lesion).centroid_column))[1:],
        *in_mm,
        *_columns(scale),
    ]


def _columns(scale: Scale) -> list[str]:
    sides = [f"{side:.6g}" for side in scale.spacing_mm] if scale.spacing_mm else ["", ""]
    return [*sides, scale.source]


def _texts(measured: Measured) -> list[str]:
    return [f"{value:.4f}" for value in astuple(measured)]
