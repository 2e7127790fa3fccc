"""Area, outline, diameters and centroid of every lesion in every frame, as a table."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from vivim.csv_writer import CsvWriter
from vivim.export.work import Work
from vivim.lesions import Lesion
from vivim.scale import Scale, regions_of, scale_of, scale_of_picture

MEASURED = ("area", "perimeter", "diameter", "normal", "centroid_row", "centroid_column")
COLUMNS = (
    "frame", "time_s", "status", "class", "class_name", "lesion",
    *(f"{name}_px" for name in MEASURED),
    "area_mm2", *(f"{name}_mm" for name in MEASURED[1:]),
    "pixel_height_mm", "pixel_width_mm", "scale",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """One lesion, in pixels or millimetres; the centroid is from the middle of the picture's first pixel.

    Attributes
    ----------
    area, perimeter : float
    diameter : float
        The largest distance between two points of its outline.
    normal : float
        Its extent at right angles to that diameter.
    centroid_row, centroid_column : float
    """

    area: float
    perimeter: float
    diameter: float
    normal: float
    centroid_row: float
    centroid_column: float


def write_measurements(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one row for each lesion of each frame; yields how many frames are done.

    A frame without a lesion gets one row with area 0 and nothing else measured. Columns in mm are empty where the
    size of a pixel is not known; ``scale`` says why, or which region's it is. ``lesion`` is its number over time.
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
    rows = [[*head, *_row(work, lesion, scale_of(lesion, regions, spacing))] for lesion in work.lesions.of(t)]
    if rows:
        return rows
    scale, none = scale_of_picture(regions, spacing), [""] * (len(MEASURED) - 1)
    return [[*head, "", "", 0, 0, *none, 0 if scale.spacing_mm else "", *none, *_columns(scale)]]


def _row(work: Work, lesion: Lesion, scale: Scale) -> list[str | int]:
    in_mm = _texts(measure(lesion, scale.spacing_mm)) if scale.spacing_mm else [""] * len(MEASURED)
    return [
        lesion.category,
        work.category(lesion.category),
        lesion.id,
        lesion.area,
        *_texts(measure(lesion))[1:],
        *in_mm,
        *_columns(scale),
    ]


def _columns(scale: Scale) -> list[str]:
    sides = [f"{side:.6g}" for side in scale.spacing_mm] if scale.spacing_mm else ["", ""]
    return [*sides, scale.source]


def _texts(measured: Measured) -> list[str]:
    return [f"{value:.4f}" for value in astuple(measured)]


def measure(lesion: Lesion, spacing: tuple[float, float] = (1.0, 1.0)) -> Measured:
    """Measure a lesion.

    Parameters
    ----------
    lesion : Lesion
        What to measure.
    spacing : tuple of float
        Height and width of a pixel, in whatever unit is wanted.
    """
    hull = _hull(lesion.image, spacing)
    distances = squareform(pdist(hull))
    first, second = np.unravel_index(np.argmax(distances), distances.shape)
    diameter = float(distances[first, second])
    along = (hull[second] - hull[first]) / diameter
    across = hull @ np.array([-along[1], along[0]])
    rows, columns = np.nonzero(lesion.image)
    return Measured(
        lesion.area * spacing[0] * spacing[1],
        perimeter(lesion.image, spacing),
        diameter,
        float(np.ptp(across)),
        float(rows.mean() + lesion.top) * spacing[0],
        float(columns.mean() + lesion.left) * spacing[1],
    )


def _hull(image: NDArray[np.bool_], spacing: tuple[float, float]) -> NDArray[np.float64]:
    """Corners ``(N, 2)`` of the convex hull of the middles of all pixels' edges, row before column."""
    inner = np.pad(image, 1)
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    pixels = np.argwhere(image & ~inner)
    edges = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
    points = (pixels[:, None] + edges).reshape(-1, 2) * spacing
    return points[ConvexHull(points).vertices]


def perimeter(image: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Length of the outlines, holes included, by counting how often lines in four directions cross them.

    Source: the Cauchy-Crofton formula, L = 1/2 sum over directions of (angle it stands for) x (distance of its
    lines) x (crossings).
    """
    padded = np.pad(image, 1)
    row, column = spacing
    slope, step = float(np.arctan2(row, column)), float(np.hypot(row, column))
    down, right = padded[1:] != padded[:-1], padded[:, 1:] != padded[:, :-1]
    falling, rising = padded[1:, 1:] != padded[:-1, :-1], padded[1:, :-1] != padded[:-1, 1:]
    diagonal = np.count_nonzero(falling) + np.count_nonzero(rising)
    lengths = (
        slope * row * np.count_nonzero(right),
        (np.pi / 2 - slope) * column * np.count_nonzero(down),
        np.pi / 4 * (row * column / step) * diagonal,
    )
    return float(sum(lengths) / 2)
