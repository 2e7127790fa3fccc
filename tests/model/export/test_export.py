"""Exports, each read back by an independent reader."""

from __future__ import annotations

import csv
import errno
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import tifffile
from PIL import Image
from vivim import Session
from vivim.errors import ExportError
from vivim.export import FORMATS, export
from vivim.export import api as export_api
from vivim.export import tiff as export_tiff


@pytest.fixture
def worked(session: Session, sample) -> Session:
    for t in range(len(session)):
        session.propose(t, sample.masks[t], "v1")
    session.correct(4, sample.masks[4] * 2)
    session.accept(6)
    return session


def run(session: Session, out: Path, formats, **options) -> None:
    events = list(export(session, out, formats, **options))
    for name in formats:
        mine = [e for e in events if e.format == name]
        assert mine[-1].done == mine[-1].total
        assert [e.done for e in mine] == sorted(e.done for e in mine)


def test_png_masks_are_0_and_255_one_a_frame(worked: Session, sample, tmp_path: Path) -> None:
    run(worked, tmp_path / "out", ["png"])
    files = sorted((tmp_path / "out" / "masks").iterdir())
    assert [f.name for f in files] == [f"{t:06d}.png" for t in range(len(worked))]
    for t, file in enumerate(files):
        np.testing.assert_array_equal(np.asarray(Image.open(file)), sample.masks[t] * np.uint8(255))


def test_only_corrected_frames_keep_their_numbers(worked: Session, tmp_path: Path) -> None:
    run(worked, tmp_path, ["png", "csv"], only="corrected")
    assert sorted(f.name for f in (tmp_path / "masks").iterdir()) == ["000004.png", "000006.png"]
    with (tmp_path / "measurements.csv").open() as file:
        assert [r["frame"] for r in csv.DictReader(file)] == ["4", "6"]


def test_tiff_holds_the_labels(worked: Session, sample, tmp_path: Path) -> None:
    run(worked, tmp_path, ["tiff"])
    stack = tifffile.imread(tmp_path / "masks.tif")
    expected = sample.masks.copy()
    expected[4] *= 2
    np.testing.assert_array_equal(stack, expected)
    with tifffile.TiffFile(tmp_path / "masks.tif") as file:
        assert file.series[0].axes == "TYX"


@pytest.mark.parametrize("dialect", ["imagej", "ome"])
def test_tiff_of_any_length_has_a_page_a_frame_and_its_scale(
    worked: Session, sample, tmp_path: Path, monkeypatch, dialect: str
) -> None:
    monkeypatch.setattr(Session, "pixel_spacing_mm", (0.5, 0.25))
    monkeypatch.setattr(Session, "fps", 20.0)
    if dialect == "ome":
        monkeypatch.setattr(export_tiff, "IMAGEJ_BYTES", 0)
    run(worked, tmp_path, ["tiff"])
    with Image.open(tmp_path / "masks.tif") as pages:
        assert pages.n_frames == len(worked)
        pages.seek(9)
        np.testing.assert_array_equal(np.asarray(pages), sample.masks[9])
    with tifffile.TiffFile(tmp_path / "masks.tif") as file:
        assert (file.is_imagej, file.is_ome) == (dialect == "imagej", dialect == "ome")
        assert file.series[0].axes == "TYX"
        if dialect == "imagej":
            assert file.imagej_metadata["finterval"] == 0.05
            assert file.pages[0].tags["XResolution"].value == (4, 1)
        else:
            assert 'PhysicalSizeX="0.25"' in file.ome_metadata and 'PhysicalSizeY="0.5"' in file.ome_metadata
            assert file.is_bigtiff


def test_an_encoder_that_ran_out_of_disk_is_not_taken_for_done(
    worked: Session, tmp_path: Path, monkeypatch
) -> None:
    begin = imageio_ffmpeg.write_frames

    def cut_short(path, *args, **options):
        def frames():
            writer = begin(path, *args, **options)
            writer.send(None)
            try:
                while True:
                    writer.send((yield))
            finally:
                writer.close()
                Path(path).write_bytes(Path(path).read_bytes()[:1000])

        return frames()

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", cut_short)
    with pytest.raises(ExportError, match="could not be finished"):
        list(export(worked, tmp_path / "out", ["mp4"]))
    assert list((tmp_path / "out").iterdir()) == []


def test_overlay_plays_and_shows_the_mask(worked: Session, sample, tmp_path: Path) -> None:
    run(worked, tmp_path, ["mp4"])
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(worked)
    inside, outside = sample.masks[3] > 0, sample.masks[3] == 0
    green = frames[3][:72, :88, 1].astype(int) - frames[3][:72, :88, 0]
    assert green[inside].mean() > green[outside].mean() + 20


def test_measurements_are_areas_and_centroids(worked: Session, sample, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Session, "pixel_spacing_mm", (0.5, 0.25))
    worked.correct(0, np.zeros(worked.shape[1:], np.uint8))
    run(worked, tmp_path, ["csv"])
    with (tmp_path / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    empty, first = rows[0], rows[1]
    assert (empty["area_px"], empty["centroid_row_px"]) == ("0", "")
    ys, xs = np.nonzero(sample.masks[1])
    assert int(first["area_px"]) == len(ys)
    assert float(first["centroid_row_px"]) == pytest.approx(ys.mean(), abs=1e-3)
    assert float(first["area_mm2"]) == pytest.approx(len(ys) * 0.125, abs=1e-3)
    assert float(first["centroid_column_mm"]) == pytest.approx(xs.mean() * 0.25, abs=1e-3)
    assert rows[4]["class"] == "2"


def test_a_second_export_replaces_the_first(worked: Session, tmp_path: Path) -> None:
    run(worked, tmp_path, FORMATS)
    run(worked, tmp_path, FORMATS, only="corrected")
    assert len(list((tmp_path / "masks").iterdir())) == 2
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("clip", "vivim-home")) == [
        "masks", "masks.tif", "measurements.csv", "overlay.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_stopped_export_leaves_nothing_half_written(worked: Session, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    events = export(worked, out, [name])
    first = next(events)
    events.close()
    assert first.done < first.total
    assert list(out.iterdir()) == []


def test_what_cannot_be_exported_is_said(session: Session, worked: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Formats are png"):
        next(export(worked, tmp_path, ["bmp"]))
    with pytest.raises(ExportError, match="Unknown scope"):
        next(export(worked, tmp_path, ["png"], only="some"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="Choose another folder"):
        next(export(worked, tmp_path / "file" / "out", ["png"]))


def test_nothing_yet_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="There are no masks yet"):
        next(export(session, tmp_path, ["png"]))
    session.propose(0, np.ones(session.shape[1:], np.uint8), "v")
    with pytest.raises(ExportError, match="No frame is corrected"):
        next(export(session, tmp_path, ["png"], only="corrected"))


def test_a_full_disk_leaves_nothing_half_written(worked: Session, tmp_path: Path, monkeypatch) -> None:
    def full(session, path, frames):
        path.mkdir()
        (path / "000000.png").write_bytes(b"half")
        yield 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(export_api._WRITERS, "png", ("masks", full))
    with pytest.raises(ExportError, match="No space left"):
        list(export(worked, tmp_path / "out", ["png"]))
    assert list((tmp_path / "out").iterdir()) == []
