"""Measure a lesion: area, perimeter, diameter and the extent at right angles to it, centroid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from vivim.imaging.components import Lesion
from vivim.imaging.metrics import outline


@dataclass(frozen=True)
class Measured:
    """Measurements of one lesion. The centroid is from the middle of the picture's first pixel."""

    area: float
    perimeter: float
    diameter: float
    """The largest distance between two points of its outline."""
    normal: float
    """Its extent at right angles to that diameter."""
    centroid_row: float
    centroid_column: float


def measure(lesion: Lesion, spacing: tuple[float, float] = (1.0, 1.0)) -> Measured:
    """Measure a lesion, in the unit of `spacing`, the height and width of a pixel."""
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
    pixels = np.argwhere(outline(image))
    edges = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
    points = (pixels[:, None] + edges).reshape(-1, 2) * spacing
    return points[ConvexHull(points).vertices]


def perimeter(image: NDArray[np.bool_], spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Length of the outlines, holes included, by counting their crossings with lines in four directions.

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
