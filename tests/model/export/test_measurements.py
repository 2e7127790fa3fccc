"""The table of measurements against shapes whose measures are known, and against scikit-image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import perimeter_crofton, regionprops
from vivim import Session
from vivim.export import export
from vivim.export.measurements import COLUMNS, measure, perimeter
from vivim.lesions import Lesion, Lesions


def lesion(image: np.ndarray) -> Lesion:
    return Lesion(1, 1, 0, 0, image.astype(bool))


def ellipse(height: float, width: float, turn: float = 0.0, spacing=(1.0, 1.0)) -> np.ndarray:
    """An ellipse of two diameters in millimetres, turned by an angle, on pixels of some size."""
    ys, xs = np.mgrid[-60:61, -60:61].astype(float)
    ys, xs = ys * spacing[0], xs * spacing[1]
    along, across = xs * np.cos(turn) + ys * np.sin(turn), ys * np.cos(turn) - xs * np.sin(turn)
    return (2 * along / width) ** 2 + (2 * across / height) ** 2 <= 1


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.1, np.pi / 2])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8), (1.0, 0.5)])
def test_diameters_area_and_perimeter_of_an_ellipse_in_mm(turn: float, spacing) -> None:
    found = measure(lesion(ellipse(24, 40, turn, spacing)), spacing)
    assert found.diameter == pytest.approx(40, abs=1.2)
    assert found.normal == pytest.approx(24, abs=1.2)
    assert found.area == pytest.approx(np.pi * 12 * 20, rel=0.02)
    assert found.perimeter == pytest.approx(102.1, rel=0.03)  # Ramanujan's second approximation
    assert (found.centroid_row, found.centroid_column) == pytest.approx((60 * spacing[0], 60 * spacing[1]))


def test_a_line_and_a_pixel_measure_what_they_cover() -> None:
    line = measure(lesion(np.ones((1, 9))))
    assert (line.diameter, line.normal) == (9, 1)
    pixel = measure(lesion(np.ones((1, 1))), (0.5, 0.25))
    assert (pixel.diameter, pixel.normal, pixel.area) == (0.5, 0.25, 0.125)


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (9, 11)))
def test_perimeter_agrees_with_scikit_image(image: np.ndarray) -> None:
    assert perimeter(image) == pytest.approx(perimeter_crofton(np.pad(image, 1), 4))


def test_diameter_agrees_with_scikit_image() -> None:
    image = ellipse(20, 33, 0.7)
    (region,) = regionprops(image.astype(np.uint8))
    assert measure(lesion(image)).diameter == pytest.approx(region.feret_diameter_max)


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, (10, 12), elements=st.integers(0, 1)))
def test_diameter_is_the_largest_distance_within_a_lesion(mask: np.ndarray) -> None:
    for found in Lesions(mask[None]).of(0):
        measured = measure(found, (0.3, 0.7))
        edges = np.argwhere(found.image)[:, None] + [(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)]
        points = edges.reshape(-1, 2) * (0.3, 0.7)
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert measured.diameter == pytest.approx(apart.max())
        assert 0 < measured.normal <= measured.diameter + 1e-9


def test_the_table(session: Session, sample, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Session, "pixel_spacing_mm", (0.5, 0.25))
    for t in range(len(session)):
        session.propose(t, sample.masks[t], "v1")
    session.correct(0, np.zeros(session.shape[1:], np.uint8))
    session.correct(4, sample.masks[4] * 2)
    list(export(session, tmp_path, ["csv"]))
    with (tmp_path / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    empty, first = rows[0], rows[1]
    assert (empty["status"], empty["area_px"], empty["centroid_row_px"]) == ("corrected", "0", "")
    ys, xs = np.nonzero(sample.masks[1])
    assert (int(first["area_px"]), first["class"], first["lesion"]) == (len(ys), "1", "1")
    assert float(first["centroid_row_px"]) == pytest.approx(ys.mean(), abs=1e-3)
    assert float(first["area_mm2"]) == pytest.approx(len(ys) * 0.125, abs=1e-3)
    assert float(first["centroid_column_mm"]) == pytest.approx(xs.mean() * 0.25, abs=1e-3)
    assert float(first["diameter_px"]) == pytest.approx(2 * np.sqrt(200), abs=1.5)
    assert float(first["diameter_mm"]) == pytest.approx(np.sqrt(200), abs=1)
    assert float(first["normal_mm"]) == pytest.approx(np.sqrt(200) / 2, abs=1)
    assert (rows[4]["class"], rows[4]["lesion"], rows[5]["lesion"]) == ("2", "2", "1")


def test_without_a_pixel_size_there_are_no_mm(session: Session, sample, tmp_path: Path) -> None:
    session.correct(0, sample.masks[0])
    list(export(session, tmp_path, ["csv"], only="corrected"))
    with (tmp_path / "measurements.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert all(row[name] == "" for name in COLUMNS if "mm" in name)
    assert all(row[name] for name in COLUMNS if name.endswith("_px"))
