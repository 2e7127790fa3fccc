"""Exports, each read back by an independent reader."""

from __future__ import annotations

import csv
import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image
from vivim import Session
from vivim.errors import ExportError
from vivim.imaging.drawing import framed
from vivim.io.export import FORMATS, export
from vivim.io.formats import overlay_video
from vivim.io.formats import tiff as export_tiff

WITHOUT_DICOM = tuple(name for name in FORMATS if name != "dicom-seg")


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
        monkeypatch.setattr(export_tiff, "PLAIN_BYTES", 0)
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
    whole = overlay_video.encoded

    def cut_short(path, *args, **options):
        yield from whole(path, *args, **options)
        path.write_bytes(path.read_bytes()[:1000])

    monkeypatch.setattr(overlay_video, "encoded", cut_short)
    with pytest.raises(ExportError, match="could not be finished"):
        list(export(worked, tmp_path / "out", ["mp4"]))
    assert list((tmp_path / "out").iterdir()) == []


def test_overlay_and_measurements_follow_the_shape_of_a_pixel(
    worked: Session, sample, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(type(worked.video), "pixel_aspect", 4 / 3)
    run(worked, tmp_path, ["mp4", "csv"])
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    rows = list(csv.DictReader((tmp_path / "measurements.csv").open()))
    row = next(row for row in rows if row["frame"] == "3" and row["lesion"])
    mask = sample.masks[3] > 0
    points = np.argwhere(mask) * (1, 4 / 3)
    farthest = np.linalg.norm(points[:, None] - points[None], axis=-1).max()
    assert farthest < float(row["diameter_px"]) < farthest + 4 / 3 + 1
    assert float(row["centroid_column_px"]) == pytest.approx(np.argwhere(mask)[:, 1].mean(), abs=0.01)
    assert int(row["area_px"]) == mask.sum()


def test_overlay_plays_and_shows_the_mask(worked: Session, sample, tmp_path: Path) -> None:
    run(worked, tmp_path, ["mp4"])
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(worked)
    inside, outside = sample.masks[3] > 0, sample.masks[3] == 0
    green = frames[3][:72, :88, 1].astype(int) - frames[3][:72, :88, 0]
    assert green[inside].mean() > green[outside].mean() + 20


def test_overlay_is_the_whole_picture_with_the_part_that_models_see_outlined(session: Session) -> None:
    dark = np.zeros((72, 89, 3), np.uint8)
    line = framed(dark.copy(), (8, 16, 56, 80)).any(axis=-1)
    around = np.zeros((72, 89), bool)
    around[7:57, 15:81] = True
    around[8:56, 16:80] = False
    np.testing.assert_array_equal(line, around)
    assert not framed(dark.copy(), None).any()
    edge = framed(dark.copy(), (0, 0, 56, 89)).any(axis=-1)
    assert edge[56].all() and not edge[:56].any() and not edge[57:].any()


def test_a_second_export_replaces_the_first(worked: Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(worked, out, WITHOUT_DICOM)
    run(worked, out, WITHOUT_DICOM, only="corrected")
    assert len(list((out / "masks").iterdir())) == 2
    assert sorted(p.name for p in out.iterdir()) == [
        "coco.json", "dataset", "masks", "masks.nii.gz", "masks.ome.tif", "masks.tif", "measurements.csv",
        "overlay.mp4", "palette", "youtube-vos",
    ]  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_DICOM)
def test_a_stopped_export_leaves_nothing_half_written(worked: Session, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    events = export(worked, out, [name])
    latest = next(event for event in events if event.done)
    events.close()
    assert latest.done < latest.total
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "only", "expected"),
    [
        ((2, 5), "all", [2, 3, 4]),
        ((None, 2), "all", [0, 1]),
        ((10, None), None, [10, 11]),
        ((10, 1000), "all", [10, 11]),
        ((5, None), "corrected", [6]),
    ],
)
def test_a_range_of_frames(worked: Session, tmp_path: Path, frames, only, expected) -> None:
    run(worked, tmp_path, ["png"], frames=frames, only=only)
    assert [int(f.stem) for f in sorted((tmp_path / "masks").iterdir())] == expected


@pytest.mark.parametrize("frames", [(12, None), (5, 5), (7, 3)])
def test_a_range_without_frames_is_said(worked: Session, tmp_path: Path, frames) -> None:
    with pytest.raises(ExportError, match="the video has 12, the first is 0"):
        next(export(worked, tmp_path, ["png"], frames=frames))


@pytest.mark.parametrize("name", ["png", "tiff", "nifti", "dataset", "mp4", "ome-tiff"])
def test_formats_of_whole_masks_never_hold_more_than_a_frame(
    worked: Session, tmp_path: Path, monkeypatch, name: str
) -> None:
    asked = []
    read = type(worked.masks).__getitem__

    def one_by_one(store, key):
        asked.append(key)
        return read(store, key)

    monkeypatch.setattr(type(worked.masks), "__getitem__", one_by_one)
    run(worked, tmp_path, [name])
    assert asked == list(range(len(worked)))


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
    def full(work, path):
        path.mkdir()
        (path / "000000.png").write_bytes(b"half")
        yield 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vivim.io.formats.png.write_png", full)
    with pytest.raises(ExportError, match="No space left"):
        list(export(worked, tmp_path / "out", ["png"]))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", WITHOUT_DICOM)
def test_a_disk_that_takes_no_more_leaves_nothing_in_any_format(
    worked: Session, tmp_path: Path, name: str
) -> None:
    resource = pytest.importorskip("resource", reason="this system sets no limit to the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(ExportError):
            list(export(worked, tmp_path / "out", [name]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_read_only_folder_is_one_clear_sentence(worked: Session, tmp_path: Path, monkeypatch) -> None:
    def refused(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(ExportError, match="Choose another folder"):
        list(export(worked, tmp_path / "out", ["png"]))
    assert worked.frames_with("corrected")


@pytest.mark.parametrize("name", ["png", "tiff", "mp4", "csv"])
def test_a_folder_taken_away_while_exporting_is_one_clear_sentence(
    worked: Session, tmp_path: Path, name: str
) -> None:
    exporting = export(worked, tmp_path / "out", [name])
    next(exporting)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="Choose another folder"):
        list(exporting)


def test_a_killed_overlay_has_no_process_of_its_own_that_goes_on_writing(
    worked: Session, tmp_path: Path
) -> None:
    before = set(psutil.Process().children(recursive=True))
    exporting = export(worked, tmp_path / "out", ["mp4"])
    next(exporting)
    assert set(psutil.Process().children(recursive=True)) <= before
    exporting.close()
    assert list((tmp_path / "out").iterdir()) == []
