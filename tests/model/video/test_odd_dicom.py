"""DICOM as clinics hand it on: without its ends, under any name, in boxes, twice."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicoms import dicom
from numbered import COUNT, encode, number_of
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from vivim import open_video
from vivim.errors import VideoError

rng = np.random.default_rng(5)
COLOUR = rng.integers(0, 256, (6, 24, 32, 3)).astype(np.uint8)
GREY = rng.integers(0, 256, (6, 240, 320)).astype(np.uint8)


def jpeg(picture: np.ndarray) -> bytes:
    made = io.BytesIO()
    Image.fromarray(picture).save(made, "JPEG", quality=95)
    return made.getvalue()


CODED = {
    "jpeg": (uid.JPEGBaseline8Bit, jpeg),
    "jpeg-ls": (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
    "jpeg-2000": (
        uid.JPEG2000Lossless,
        lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", reversible=True),
    ),
    "jp2": (uid.JPEG2000Lossless, lambda p: imagecodecs.jpeg2k_encode(p, codecformat="jp2", reversible=True)),
}


def coded(path: Path, name: str) -> Path:
    syntax, coder = CODED[name]
    return dicom(path, COLOUR, "RGB", compressed=[coder(one) for one in COLOUR], syntax=syntax)


def frames_of(path: Path) -> np.ndarray:
    video = open_video(path)
    return np.stack(list(video.frames(0, len(video))))


@pytest.mark.parametrize("offsets", (True, False))
@pytest.mark.parametrize("name", CODED)
def test_a_file_without_its_end_gives_the_frames_that_are_there(
    tmp_path: Path, name: str, offsets: bool
) -> None:
    whole = coded(tmp_path / "whole.dcm", name)
    if not offsets:
        data = pydicom.dcmread(whole)
        coder = CODED[name][1]
        data.PixelData = pydicom.encaps.encapsulate([coder(one) for one in COLOUR], has_bot=False)
        data.save_as(whole)
    truth, data = frames_of(whole), whole.read_bytes()
    assert open_video(whole).notes == ()
    bare, cut, early = (tmp_path / f"{n}.dcm" for n in ("bare", "cut", "early"))
    bare.write_bytes(data[:-8])
    np.testing.assert_array_equal(frames_of(bare), truth)
    assert "ends too early" in " ".join(open_video(bare).notes)
    cut.write_bytes(data[: int(len(data) * 0.6)])
    found = frames_of(cut)
    assert 1 <= len(found) < len(truth)
    np.testing.assert_array_equal(found, truth[: len(found)])
    assert f"{len(found)} of its 6 frames" in " ".join(open_video(cut).notes)
    early.write_bytes(data[: data.index(b"\xe0\x7f\x10\x00") + 60])
    with pytest.raises(VideoError, match=r"early\.dcm"):
        open_video(early)


@pytest.mark.parametrize("share", (0.4, 0.99))
def test_pixels_that_are_not_coded_and_cut(tmp_path: Path, share: float) -> None:
    whole = dicom(tmp_path / "whole.dcm", GREY)
    data = whole.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(data[: int(len(data) * share)])
    found = frames_of(tmp_path / "cut.dcm")
    assert len(found) == int(6 * share)
    np.testing.assert_array_equal(found, GREY[: len(found)])
    assert "ends too early" in open_video(tmp_path / "cut.dcm").notes[0]


@pytest.mark.parametrize("share", (1.0, 0.7))
def test_a_stream_that_is_cut(tmp_path: Path, share: float) -> None:
    stream = encode(tmp_path / "a.ts", "libx264", {"g": "12"}).read_bytes()
    blank = np.zeros((COUNT, 48, 64, 3), np.uint8)
    path = dicom(tmp_path / "a.dcm", blank, "YBR_PARTIAL_420", compressed=[stream], syntax=uid.MPEG4HP41)
    data = path.read_bytes()
    path.write_bytes(data[: int((len(data) - 8) * share)])
    video = open_video(path)
    assert COUNT * share * 0.5 < len(video) <= COUNT and "ends too early" in video.notes[-1]
    assert [number_of(video.frame(i)) for i in (9, 3, 7)] == [9, 3, 7]


def test_boxes_around_jpeg_2000_are_looked_through() -> None:
    path = get_testdata_file("GDCMJ2K_TextGBR.dcm", download=False)
    data = pydicom.dcmread(path)
    truth = imagecodecs.jpeg2k_decode(pydicom.encaps.get_frame(data.PixelData, 0, number_of_frames=1))
    np.testing.assert_array_equal(open_video(path).frame(0), truth)


@pytest.mark.parametrize("name", ("1.2.840.{}", "IM{}", "export_{}.tmp", "{}.png", "Z{}.ima"))
def test_a_series_is_known_by_the_mark_of_its_files(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    series = uid.generate_uid()
    for i in range(4):
        dicom(
            folder / name.format(10 - i),
            COLOUR[i : i + 1],
            "RGB",
            InstanceNumber=i + 1,
            SeriesInstanceUID=series,
        )
    shutil.copy(folder / name.format(10), folder / "copy (1)")
    Image.fromarray(COLOUR[0]).save(folder / "preview.jpg")
    (folder / "notes.txt").write_text("read me")
    video = open_video(folder)
    np.testing.assert_array_equal(np.stack(list(video.frames(0, 4))), COLOUR[:4])
    assert len(video) == 4 and "copies" in video.notes[0]


def test_a_cine_and_its_copy_are_one(tmp_path: Path) -> None:
    dicom(tmp_path / "IM1", COLOUR, "RGB")
    shutil.copy(tmp_path / "IM1", tmp_path / "IM1 (2)")
    np.testing.assert_array_equal(frames_of(tmp_path), COLOUR)


def test_frames_beside_their_dicom_file_stay_the_video(tmp_path: Path) -> None:
    dicom(tmp_path / "source.dcm", COLOUR, "RGB")
    for i in range(6):
        Image.fromarray(COLOUR[i]).save(tmp_path / f"{i}.png")
    assert len(open_video(tmp_path)) == 6 and open_video(tmp_path).path == tmp_path


def test_the_shape_of_a_pixel(tmp_path: Path) -> None:
    assert open_video(dicom(tmp_path / "a.dcm", GREY, PixelAspectRatio=[4, 3])).pixel_aspect == pytest.approx(
        3 / 4
    )
    assert open_video(dicom(tmp_path / "b.dcm", GREY, PixelSpacing=[0.2, 0.3])).pixel_aspect == pytest.approx(
        1.5
    )
    assert open_video(dicom(tmp_path / "c.dcm", GREY)).pixel_aspect == 1.0
    assert open_video(dicom(tmp_path / "d.dcm", GREY, PixelAspectRatio=[0, 0])).pixel_aspect == 1.0


def test_a_frame_time_vector_without_its_first_entry(tmp_path: Path) -> None:
    steps = [40.0, 20.0, 40.0, 60.0, 40.0]
    for vector in ([0.0, *steps], steps):
        video = open_video(dicom(tmp_path / "a.dcm", GREY, FrameTimeVector=vector))
        assert [video.frame_time(i) for i in range(6)] == pytest.approx([0, 0.04, 0.06, 0.1, 0.16, 0.2])
        assert video.fps == pytest.approx(25)
