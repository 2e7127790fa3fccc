"""The table of measurements against shapes whose measures are known, and against scikit-image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from skimage.measure import perimeter_crofton, regionprops
from vivim import Session
from vivim.analysis.measurements import measure, perimeter
from vivim.analysis.shape_changes import ShapeTrack
from vivim.batch.jobs import Exporting, Job, Outcome
from vivim.batch.run import run
from vivim.imaging.components import Lesion
from vivim.imaging.lesion_tracking import Lesions
from vivim.io.export import export
from vivim.io.formats.measurements_csv import COLUMNS


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


def region(box: tuple[int, int, int, int], delta: float, kind: int = 1, units: int = 3) -> Dataset:
    """A region of a picture: its box ``(y0, x0, y1, x1)``, its pixels' height and half their width."""
    found = Dataset()
    found.RegionDataType, found.RegionSpatialFormat = kind, 1
    found.PhysicalUnitsXDirection = found.PhysicalUnitsYDirection = units
    found.PhysicalDeltaY, found.PhysicalDeltaX = delta, delta / 2
    found.RegionLocationMinY0, found.RegionLocationMinX0 = box[:2]
    found.RegionLocationMaxY1, found.RegionLocationMaxX1 = box[2] - 1, box[3] - 1
    return found


def measured(session: Session, out: Path) -> dict[int, list[dict[str, str]]]:
    """Rows of the table by frame."""
    list(export(session, out, ["csv"]))
    rows: dict[int, list[dict[str, str]]] = {}
    with (out / "measurements.csv").open() as file:
        for row in csv.DictReader(file):
            rows.setdefault(int(row["frame"]), []).append(row)
    return rows


def test_a_lesion_is_measured_by_the_region_it_lies_in(make_cine, tmp_path: Path) -> None:
    regions = [
        region((0, 0, 30, 20), 0.05),  # B-mode, 0.5 x 0.25 mm
        region((0, 24, 30, 44), 0.1),  # the same, less deep: 1 x 0.5 mm
        region((2, 2, 10, 10), 0.05, kind=2),  # colour within the first
        region((32, 0, 37, 20), 0.01, kind=3, units=4),  # Doppler, in seconds
    ]
    cine = make_cine(tmp_path / "cine.dcm", SequenceOfUltrasoundRegions=regions)
    places = {
        0: ((4, 4, 14, 12), "tissue", (0.5, 0.25)),
        1: ((4, 26, 14, 34), "tissue", (1.0, 0.5)),
        2: ((4, 14, 14, 30), "across regions", None),
        3: ((26, 5, 34, 9), "across regions", None),  # into the Doppler, which has no lengths
        4: ((32, 30, 36, 40), "outside the regions", None),
        5: ((33, 2, 36, 8), "PW spectral Doppler", None),
        6: ((25, 40, 33, 45), "tissue", (1.0, 0.5)),  # reaches out
    }
    with Session.open(cine) as session:
        assert session.pixel_spacing_mm is None  # none holds for the whole picture
        for t, ((y0, x0, y1, x1), _, _) in places.items():
            mask = np.zeros(session.shape[1:], np.uint8)
            mask[y0:y1, x0:x1] = 1
            session.propose(t, mask, "v1")
        rows = measured(session, tmp_path / "out")
    for t, ((y0, x0, y1, x1), source, spacing) in places.items():
        (row,) = rows[t]
        pixels = (y1 - y0) * (x1 - x0)
        assert (row["scale"], int(row["area_px"])) == (source, pixels)
        in_mm = [row[name] for name in COLUMNS if name.endswith(("_mm", "_mm2"))]
        if spacing is None:
            assert in_mm == [""] * len(in_mm)
            continue
        assert (float(row["pixel_height_mm"]), float(row["pixel_width_mm"])) == spacing
        assert float(row["area_mm2"]) == pytest.approx(pixels * spacing[0] * spacing[1])
        sides = sorted([(y1 - y0) * spacing[0], (x1 - x0) * spacing[1]])
        assert sides[1] - 1e-6 <= float(row["diameter_mm"]) <= np.hypot(*sides)


def test_summary_and_timeline_measure_as_the_table_does(make_cine, tmp_path: Path) -> None:
    regions = [region((0, 0, 30, 20), 0.05), region((0, 24, 30, 44), 0.1)]  # 0.5 x 0.25 mm, 1 x 0.5 mm
    path = make_cine(tmp_path / "cine.dcm", SequenceOfUltrasoundRegions=regions)
    boxes = {0: [(4, 4, 14, 12)], 1: [(4, 26, 14, 34)], 2: [(4, 4, 14, 12), (4, 26, 14, 34)], 3: []}
    folder = tmp_path / "cine.vivim"

    def summary(out: Path) -> dict[str, str]:
        job = Job(str(folder), "cine", str(out), Exporting(("csv",)))
        assert [event.status for event in run([job]) if isinstance(event, Outcome)] == ["done"]
        with (out / "summary.csv").open() as file:
            (row,) = csv.DictReader(file)
        return row

    with Session.open(path, folder=folder) as session:
        for t, found in boxes.items():
            mask = np.zeros(session.shape[1:], np.uint8)
            for y0, x0, y1, x1 in found:
                mask[y0:y1, x0:x1] = 1
            session.propose(t, mask, "v1")
        by_frame = {
            t: sum(float(row["area_mm2"] or 0) for row in rows)
            for t, rows in measured(session, tmp_path / "table").items()
        }
        track = ShapeTrack(session)
        assert list(track.measure(boxes)) == list(boxes)
    wanted = {0: 80 * 0.125, 1: 80 * 0.5, 2: 80 * 0.625, 3: 0.0}
    assert {t: by_frame[t] for t in wanted} == pytest.approx(wanted)
    areas, unit = track.areas_shown()
    assert unit == "mm²" and areas[:4].tolist() == pytest.approx(list(wanted.values()))
    row = summary(tmp_path / "out")
    assert float(row["mean_area_mm2"]) == pytest.approx((10 + 40 + 50) / 3, abs=1e-4)
    assert float(row["mean_area_px"]) == pytest.approx(320 / 3, abs=1e-2)

    with Session.open(path, folder=folder) as session:
        across = np.zeros(session.shape[1:], np.uint8)
        across[4:14, 14:30] = 1
        session.propose(1, across, "v1")
        track = ShapeTrack(session)
        assert list(track.measure(boxes)) == list(boxes)
    assert np.isnan(track.areas_mm2[1])
    areas, unit = track.areas_shown()
    assert unit == "px" and areas[:4].tolist() == [80, 160, 160, 0]
    assert summary(tmp_path / "out2")["mean_area_mm2"] == ""


def test_regions_of_one_scale_give_it_to_the_picture(make_cine, tmp_path: Path) -> None:
    both = [region((0, 0, 30, 20), 0.05), region((0, 24, 30, 44), 0.0500001)]
    with Session.open(make_cine(tmp_path / "cine.dcm", SequenceOfUltrasoundRegions=both)) as session:
        assert session.pixel_spacing_mm == (0.5, 0.25)
        mask = np.zeros(session.shape[1:], np.uint8)
        mask[4:14, 10:40] = 1
        session.propose(0, mask, "v1")
        rows = measured(session, tmp_path / "out")
    assert (rows[0][0]["scale"], rows[1][0]["scale"], rows[1][0]["area_mm2"]) == ("tissue", "picture", "0")
    assert float(rows[0][0]["area_mm2"]) == pytest.approx(300 * 0.125)


def test_without_a_pixel_size_there_are_no_mm(session: Session, sample, tmp_path: Path) -> None:
    session.correct(0, sample.masks[0])
    list(export(session, tmp_path, ["csv"], only="corrected"))
    with (tmp_path / "measurements.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert all(row[name] == "" for name in COLUMNS if "mm" in name)
    assert all(row[name] for name in COLUMNS if name.endswith("_px")) and row["scale"] == "unknown"
