"""DICOM in all its codings and displays, against pydicom and against what was written."""

from __future__ import annotations

from pathlib import Path

import av
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicoms import dicom
from numbered import COUNT, encode, number_of, numbered
from pydicom import Dataset, uid
from pydicom.pixels import apply_rescale, apply_windowing
from vivim import open_video
from vivim.errors import VideoError
from vivim.video.readers import dicom as reader
from vivim.video.readers.dicom_header import Region

rng = np.random.default_rng(0)
GREY, DEEP = (
    rng.integers(0, 256, (2, 24, 32)).astype(np.uint8),
    rng.integers(0, 4096, (2, 24, 32)).astype(np.uint16),
)
COLOUR = rng.integers(0, 256, (2, 24, 32, 3)).astype(np.uint8)


def same(path: Path, pixels: np.ndarray) -> None:
    video = open_video(path)
    np.testing.assert_array_equal(np.stack(list(video.frames(0, len(video)))), pixels)


@pytest.mark.parametrize(
    ("syntax", "coder"),
    [
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEGLossless, lambda p: imagecodecs.ljpeg_encode(p, bitspersample=p.dtype.itemsize * 8)),
        (uid.JPEGLosslessSV1, lambda p: imagecodecs.ljpeg_encode(p, bitspersample=p.dtype.itemsize * 8)),
        (uid.JPEG2000Lossless, lambda p: imagecodecs.jpeg2k_encode(p, codecformat="j2k", reversible=True)),
    ],
)
def test_lossless_codings_come_back_to_the_bit(tmp_path: Path, syntax: str, coder) -> None:
    for pixels in (GREY, DEEP):
        frames = [coder(picture) for picture in pixels]
        same(dicom(tmp_path / "a.dcm", pixels, compressed=frames, syntax=syntax), pixels)


def test_colour_in_jpeg_ls(tmp_path: Path) -> None:
    frames = [imagecodecs.jpegls_encode(picture) for picture in COLOUR]
    same(dicom(tmp_path / "a.dcm", COLOUR, "RGB", compressed=frames, syntax=uid.JPEGLSLossless), COLOUR)


def test_jpeg_of_12_bits(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(24) * 60, np.arange(32) * 40).astype(np.uint16)[None]
    frames = [imagecodecs.jpeg8_encode(picture, level=99, bitspersample=12) for picture in smooth]
    path = dicom(tmp_path / "a.dcm", smooth, bits=12, compressed=frames, syntax=uid.JPEGExtended12Bit)
    assert np.abs(open_video(path).frame(0).astype(int) - smooth[0]).max() < 30


def test_rle_and_deflated(tmp_path: Path) -> None:
    for syntax in (uid.RLELossless, uid.DeflatedExplicitVRLittleEndian):
        data = pydicom.dcmread(dicom(tmp_path / "a.dcm", COLOUR, "RGB"))
        if syntax == uid.RLELossless:
            data.compress(syntax)
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(tmp_path / "b.dcm")
        same(tmp_path / "b.dcm", COLOUR)


@pytest.mark.parametrize("kind", ["YBR_FULL", "YBR_FULL_422"])
def test_ybr_becomes_rgb(tmp_path: Path, kind: str) -> None:
    ybr = np.zeros((1, 4, 4, 3), np.uint8) + np.array([76, 85, 255], np.uint8)  # red
    path = dicom(tmp_path / "a.dcm", ybr, kind)
    if kind == "YBR_FULL_422":
        data = pydicom.dcmread(path)
        data.PixelData = np.tile(np.array([76, 76, 85, 255], np.uint8), 8).tobytes()
        data.save_as(path)
    np.testing.assert_allclose(open_video(path).frame(0)[2, 2], (254, 0, 0), atol=2)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_windows_show_what_pydicom_computes(tmp_path: Path, function: str, kind: str) -> None:
    pixels = rng.integers(-2048, 2048, (2, 8, 8)).astype(np.int16)
    path = dicom(
        tmp_path / "a.dcm", pixels, kind, bits=12, WindowCenter=[40, 9], WindowWidth=[400, 9],
        RescaleSlope=2, RescaleIntercept=-100, VOILUTFunction=function,
    )  # fmt: skip
    data = pydicom.dcmread(path)
    shown = apply_windowing(apply_rescale(pixels, data), data)
    low, high = -2048 * 2 - 100, 2047 * 2 - 100
    share = (shown - low) / (high - low)
    share = 1 - share if kind == "MONOCHROME1" else share
    frame = open_video(path).frame(1)
    assert frame.dtype == np.uint16
    np.testing.assert_allclose(frame, share[1] * 65535, atol=1.5)


def test_voi_tables_and_windows_of_8_bits(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 8], [255 - v for v in range(256)]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    np.testing.assert_array_equal(
        open_video(dicom(tmp_path / "a.dcm", GREY, VOILUTSequence=[table])).frame(0), 255 - GREY[0]
    )
    windowed = open_video(dicom(tmp_path / "b.dcm", GREY, WindowCenter=128, WindowWidth=256))
    np.testing.assert_array_equal(windowed.frame(0), GREY[0])


def test_32_bits_and_16_bit_colour(tmp_path: Path) -> None:
    deep = (rng.integers(0, 65536, (1, 6, 6)) * 65536).astype(np.uint32)
    np.testing.assert_array_equal(open_video(dicom(tmp_path / "a.dcm", deep)).frame(0), deep[0] >> 16)
    colour = COLOUR.astype(np.uint16) * 256
    np.testing.assert_array_equal(open_video(dicom(tmp_path / "b.dcm", colour, "RGB")).frame(0), COLOUR[0])


@pytest.mark.parametrize(
    ("syntax", "name", "codec"), [(uid.MPEG4HP41, "a.mp4", "libx264"), (uid.HEVCMP51, "b.mp4", "libx265")]
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_streams_inside_dicom_are_exact_to_the_frame(
    tmp_path: Path, syntax: str, name: str, codec: str, pieces: int
) -> None:
    stream = encode(
        tmp_path / name, codec, {"g": "30", "bf": "2", "crf": "10", "x265-params": "log-level=none"}
    ).read_bytes()
    part = len(stream) // pieces // 2 * 2
    parts = [stream[k * part : (k + 1) * part if k < pieces - 1 else None] for k in range(pieces)]
    pixels = np.zeros((COUNT, 48, 64, 3), np.uint8)
    path = dicom(
        tmp_path / "a.dcm",
        pixels,
        "YBR_PARTIAL_420",
        compressed=parts,
        syntax=syntax,
        PixelSpacing=[0.5, 0.4],
    )
    video = open_video(path)
    assert len(video) == COUNT and video.pixel_spacing_mm == (0.5, 0.4)
    for i in (50, 3, 69, 0, 31):
        assert number_of(video.frame(i)) == i
    video.close()


def test_mpeg_2_inside_dicom_is_exact_to_the_frame(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mpg"), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"g": "15", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 2_000_000
        for i in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i), format="rgb24")))
        container.mux(stream.encode())
    coded = [(tmp_path / "a.mpg").read_bytes()]
    pixels = np.zeros((COUNT, 48, 64, 3), np.uint8)
    path = dicom(tmp_path / "a.dcm", pixels, "YBR_PARTIAL_420", compressed=coded, syntax=uid.MPEG2MPML)
    video = open_video(path)
    assert [number_of(video.frame(i)) for i in (50, 3, 69, 0, 31)] == [50, 3, 69, 0, 31]
    assert len(video) == COUNT
    video.close()


def test_times_come_from_the_vector_then_the_frame_time(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    uneven = open_video(dicom(tmp_path / "a.dcm", pixels, FrameTimeVector=[0, 40, 40, 120], FrameTime=10))
    assert [round(uneven.frame_time(i), 3) for i in range(4)] == [0, 0.04, 0.08, 0.2]
    assert uneven.fps == pytest.approx(15)
    even = open_video(dicom(tmp_path / "b.dcm", pixels, FrameTime=20))
    assert even.fps == 50 and even.frame_time(3) == pytest.approx(0.06)


def test_each_region_has_its_scale_and_b_mode_comes_first(tmp_path: Path) -> None:
    regions = []
    for code, box, delta in ((3, (0, 20, 31, 23), 0.5), (1, (4, 2, 27, 17), 0.02)):
        region = Dataset()
        region.RegionDataType, region.RegionSpatialFormat = code, 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3 if code == 1 else 4
        region.PhysicalDeltaX = region.PhysicalDeltaY = delta
        names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
        for name, value in zip(names, box, strict=True):
            setattr(region, f"RegionLocation{name}", value)
        regions.append(region)
    video = open_video(dicom(tmp_path / "a.dcm", GREY, SequenceOfUltrasoundRegions=regions))
    assert video.regions == (
        Region("tissue", (2, 4, 18, 28), (0.2, 0.2)),
        Region("PW spectral Doppler", (20, 0, 24, 32), None),
    )
    assert video.pixel_spacing_mm == (0.2, 0.2)


def test_a_series_is_in_order_of_its_instances(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for place, number in enumerate((3, 1, 2)):
        picture = np.full((1, 4, 4), number, np.uint8)
        dicom(folder / f"IM{place}", picture, SeriesInstanceUID="1.2", InstanceNumber=number, FrameTime=40)
    video = open_video(folder)
    assert [int(f[0, 0]) for f in video.frames(0, 3)] == [1, 2, 3] and video.fps == 25
    dicom(folder / "IM3", np.zeros((1, 4, 4), np.uint8), SeriesInstanceUID="1.3")
    with pytest.raises(VideoError, match="more than one series"):
        open_video(folder)


def test_a_folder_with_one_cine_is_that_cine(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    dicom(tmp_path / "study" / "a.dcm", GREY)
    same(tmp_path / "study", GREY)


def test_damaged_headers_are_told_without_their_values(tmp_path: Path) -> None:
    data = dicom(
        tmp_path / "a.dcm", GREY, FrameTime="40", PatientName="Doe^Jane", BurnedInAnnotation="NO"
    ).read_bytes()
    for old, new in (
        (b"40", b"Do"),
        (b"MONOCHROME2", b"DOE^JANE^^^"),
        (b"\x28\0\x10\0US\2\0", b"\x28\0\x10\0US\3\0"),
    ):
        assert old in data
        (tmp_path / "b.dcm").write_bytes(data.replace(old, new))
        try:
            open_video(tmp_path / "b.dcm").frame(1)
        except VideoError as error:
            assert "DOE" not in str(error).upper() and error.__cause__ is None
    (tmp_path / "b.dcm").write_bytes(data.replace(b"\x28\0\x10\0US\2\0\x18\0", b"\x28\0\x10\0US\2\0\xff\xff"))
    with pytest.raises(VideoError):
        open_video(tmp_path / "b.dcm").frame(1)


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch) -> None:
    path = dicom(tmp_path / "a.dcm", GREY, compressed=[b"\0" * 8] * 2, syntax=uid.JPEGLSLossless)

    class Nothing:
        is_available = False

    monkeypatch.setattr(reader, "get_decoder", lambda _: Nothing)
    with pytest.raises(VideoError, match="pip install imagecodecs"):
        open_video(path)
