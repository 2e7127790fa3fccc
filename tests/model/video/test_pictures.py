"""Pixels of DICOM, TIFF, GIF and folders in all their kinds, against what was written."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
import tifffile
from dicoms import dicom
from numbered import COUNT, encode, numbered
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless
from vivim import open_video
from vivim.errors import VideoError
from vivim.video import LazyFrames, write_video, writer

rng = np.random.default_rng(0)


def test_dicom_grey_of_16_bits_stays_so(tmp_path: Path) -> None:
    pixels = rng.integers(0, 2**16, (3, 5, 4)).astype(np.uint16)
    video = open_video(dicom(tmp_path / "a.dcm", pixels))
    assert video.dtype == np.uint16
    np.testing.assert_array_equal(np.stack(list(video.frames(0, 3))), pixels)


def test_signed_dicom_has_one_zero_for_all_frames(tmp_path: Path) -> None:
    pixels = np.stack([np.full((4, 4), value, np.int16) for value in (-5, 5, -2048, 2047)])
    video = open_video(dicom(tmp_path / "a.dcm", pixels, bits=12))
    assert [int(f[0, 0]) for f in video.frames(0, 4)] == [2043, 2053, 0, 4095]
    inverted = open_video(dicom(tmp_path / "b.dcm", pixels, "MONOCHROME1", bits=12))
    assert [int(f[0, 0]) for f in inverted.frames(0, 4)] == [2052, 2042, 4095, 0]


@pytest.mark.parametrize(("syntax", "order"), [(ExplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")])
@pytest.mark.parametrize("bits", [8, 16])
def test_dicom_palettes_give_their_colours(tmp_path: Path, bits: int, syntax: str, order: str) -> None:
    table = np.arange(256) if bits == 8 else np.arange(256) * 257
    content = table.astype(f"{order}u{bits // 8}").tobytes()
    palette = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        palette[f"{colour}PaletteColorLookupTableData"] = content
    pixels = np.arange(32).reshape(2, 4, 4).astype(f"{order}u{bits // 8}")
    video = open_video(dicom(tmp_path / "a.dcm", pixels, "PALETTE COLOR", syntax=syntax, **palette))
    np.testing.assert_array_equal(video.frame(1), np.repeat(pixels[1][..., None], 3, -1))


def test_dicom_jpeg_2000_in_colour(tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    frames = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
        frames.append(buffer.getvalue())
    video = open_video(
        dicom(tmp_path / "a.dcm", pixels, "YBR_RCT", compressed=frames, syntax=JPEG2000Lossless)
    )
    np.testing.assert_array_equal(video.frame(1), pixels[1])


def test_a_long_dicom_is_never_all_in_memory(tmp_path: Path) -> None:
    pixels = np.zeros((150, 800, 1000), np.uint8)
    pixels[:, 0, 0] = np.arange(150)
    path = dicom(tmp_path / "a.dcm", pixels)
    del pixels
    before = psutil.Process().memory_info().rss
    video = open_video(path)
    assert [int(video.frame(i)[0, 0]) for i in (0, 149, 70)] == [0, 149, 70]
    assert psutil.Process().memory_info().rss - before < 60e6


def test_dicom_cut_short_gives_its_whole_frames(tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (3, 20, 30)).astype(np.uint8)
    data = dicom(tmp_path / "a.dcm", pixels).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(data[:-700])
    video = open_video(tmp_path / "cut.dcm")
    np.testing.assert_array_equal(video.frame(0), pixels[0])
    with pytest.raises(VideoError, match=r"Frame 2 of cut\.dcm"):
        video.frame(2)


@pytest.mark.parametrize(("code", "expected"), [(3, (0.3, 0.2)), (4, None), (0, None)])
def test_ultrasound_regions_count_only_in_centimetres(tmp_path: Path, code: int, expected) -> None:
    region = Dataset()
    region.RegionDataType, region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 1, code, code
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03
    pixels = np.zeros((2, 4, 4), np.uint8)
    path = dicom(
        tmp_path / "a.dcm", pixels, SequenceOfUltrasoundRegions=[region], PixelSpacing=[0, 0], CineRate=24
    )
    video = open_video(path)
    assert video.fps == 24
    assert video.pixel_spacing_mm == (expected and pytest.approx(expected))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiffs_need_no_further_package(tmp_path: Path, compression: str) -> None:
    stack = rng.integers(0, 256, (4, 20, 30)).astype(np.uint8)
    pages = [Image.fromarray(page) for page in stack]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    video = open_video(tmp_path / "a.tif")
    assert video.shape == stack.shape
    for i in (3, 1, 0):
        np.testing.assert_array_equal(video.frame(i), stack[i])


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "truncate": True},
        {"photometric": "rgb", "planarconfig": "separate"},
        {"imagej": True},
    ],
)
def test_colour_tiffs_in_every_layout(tmp_path: Path, options: dict) -> None:
    stack = rng.integers(0, 256, (5, 16, 18, 3)).astype(np.uint8)
    stored = np.moveaxis(stack, -1, 1) if "planarconfig" in options else stack
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    video = open_video(tmp_path / "a.tif")
    assert video.shape == stack.shape
    np.testing.assert_array_equal(np.stack(list(video.frames(0, 5))), stack)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_short_stacks_written_with_no_options(tmp_path: Path, count: int) -> None:
    stack = rng.integers(0, 256, (count, 16, 18)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    video = open_video(tmp_path / "a.tif")
    assert video.shape == stack.shape
    np.testing.assert_array_equal(np.stack(list(video.frames(0, count))), stack)


def test_tiffs_with_a_palette_or_white_as_zero(tmp_path: Path) -> None:
    pages = [Image.fromarray(numbered(i)).quantize(16) for i in range(3)]
    pages[0].save(tmp_path / "palette.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(
        open_video(tmp_path / "palette.tif").frame(2), np.asarray(pages[2].convert("RGB"))
    )
    tifffile.imwrite(tmp_path / "white.tif", np.full((3, 8, 9), 7, np.uint8), photometric="miniswhite")
    assert open_video(tmp_path / "white.tif").frame(1)[0, 0] == 248


def test_spacing_of_tiffs_is_believed_only_with_a_unit(tmp_path: Path) -> None:
    stack = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(
        tmp_path / "dpi.tif", stack, resolution=(72, 72), resolutionunit="INCH", photometric="minisblack"
    )
    assert open_video(tmp_path / "dpi.tif").pixel_spacing_mm is None
    micro = {"axes": "TYX", "unit": "\\u00B5m"}
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, resolution=(0.01, 0.02), metadata=micro)
    assert open_video(tmp_path / "ij.tif").pixel_spacing_mm == pytest.approx((0.05, 0.1))
    sizes = {"PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "mm", "PhysicalSizeY": 300.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "TYX", **sizes})
    assert open_video(tmp_path / "a.ome.tif").pixel_spacing_mm == pytest.approx((0.3, 0.2))


def test_tiffs_with_channels_beside_time_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((5, 2, 8, 9), np.uint8), imagej=True, metadata={"axes": "TCYX"}
    )
    with pytest.raises(VideoError, match="more than time"):
        open_video(tmp_path / "a.tif")


def test_going_back_in_a_gif_composes_each_frame_once(tmp_path: Path, monkeypatch) -> None:
    pages = [Image.fromarray(numbered(i)).quantize(32) for i in range(30)]
    pages[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=[10 * (i + 2) for i in range(30)]
    )
    video, read = open_video(tmp_path / "a.gif"), []
    compose = video._read
    monkeypatch.setattr(video, "_read", lambda i: read.append(i) or compose(i))
    for i in range(29, -1, -1):
        np.testing.assert_array_equal(video.frame(i), np.asarray(pages[i].convert("RGB")))
    assert read == list(range(1, 30))
    assert video.frame_time(3) == pytest.approx(0.02 + 0.03 + 0.04)


def test_folders_of_mixed_kinds(tmp_path: Path) -> None:
    def save(folder: str, *pictures: np.ndarray) -> Path:
        (tmp_path / folder / "frames").mkdir(parents=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / folder / "frames" / f"{i}.tif")
        return tmp_path / folder

    grey, deep = np.full((4, 5), 9, np.uint8), np.full((4, 5), 60000, np.uint16)
    red = np.full((4, 5, 3), (200, 10, 10), np.uint8)
    mixed = open_video(save("colour", grey, red))
    assert [f[0, 0].tolist() for f in mixed.frames(0, 2)] == [[9, 9, 9], [200, 10, 10]]
    sixteen = open_video(save("deep", deep, deep))
    assert sixteen.dtype == np.uint16 and sixteen.frame(1)[0, 0] == 60000
    with pytest.raises(VideoError, match="16 bits"):
        open_video(save("depths", grey, deep))
    with pytest.raises(VideoError, match="floating-point"):
        open_video(save("float", grey.astype(np.float32)))


def test_a_renamed_frame_makes_another_folder(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(tmp_path / f"{i}.png")
    before = open_video(tmp_path).identity()
    assert open_video(tmp_path).identity() == before
    (tmp_path / "1.png").rename(tmp_path / "9.png")
    assert open_video(tmp_path).identity() != before


KEYS = [
    np.arange(COUNT) % 3 == 0, [True] * COUNT, [], [-1, 0], ..., (..., 0), (1, ..., 2), None, (2, None), (),
    (slice(1, 3), None, 0), np.int64(3), np.array(2), ([1, 2], slice(0, 2)), ([1, 2], [0, 1]),
    np.array([[0, 1], [2, 3]]),
]  # fmt: skip


@pytest.fixture(scope="module")
def lossless(tmp_path_factory) -> LazyFrames:
    return LazyFrames(open_video(encode(tmp_path_factory.mktemp("lossless") / "a.mkv", "ffv1", {})))


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_lazy_frames_take_every_key_numpy_takes(lossless: LazyFrames, key) -> None:
    array = np.stack([numbered(i) for i in range(COUNT)])
    np.testing.assert_array_equal(lossless[key], array[key])


@pytest.mark.parametrize(
    "key", [1.5, COUNT, -COUNT - 1, [True, False], (0, 0, 0, 0, 0), "a", [COUNT]], ids=repr
)
def test_lazy_frames_refuse_what_numpy_refuses(lossless: LazyFrames, key) -> None:
    with pytest.raises(IndexError):
        lossless[key]


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        ([np.zeros((8, 8), np.uint8), np.zeros((16, 8), np.uint8)], 10, "All need one size"),
        ([np.zeros((8, 8), np.uint16)], 10, "give uint8"),
        ([np.zeros((8, 8))], 10, "give uint8"),
        ([np.zeros((8, 8), np.uint8)], 0, "positive"),
        ([np.zeros((8, 8), np.uint8)], float("nan"), "positive"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, frames: list, fps: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_without_an_encoder_of_its_own_the_ffmpeg_program_writes(tmp_path: Path, monkeypatch) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", set())
    assert writer.write_video is write_video
    video = open_video(write_video(tmp_path / "a.mp4", (numbered(i)[:47] for i in range(12)), 12.5))
    assert video.shape == (12, 48, 64, 3)
    assert video.fps == pytest.approx(12.5)
    assert np.abs(video.frame(7)[:47].astype(int) - numbered(7)[:47]).mean() < 6


def test_pictures_larger_than_any_video_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    Image.new("1", (9000, 9000)).save(tmp_path / "folder" / "large.png")
    tifffile.imwrite(tmp_path / "large.tif", shape=(9000, 9000), dtype=np.uint8)
    for path in (tmp_path / "folder", tmp_path / "large.tif"):
        with pytest.raises(VideoError, match="9000x9000 pixels"):
            open_video(path)


def test_large_tiffs_are_told_by_content(tmp_path: Path) -> None:
    pixels = rng.integers(0, 256, (3, 10, 12)).astype(np.uint8)
    for order in "<>":
        tifffile.imwrite(tmp_path / "stack", pixels, bigtiff=True, byteorder=order, photometric="minisblack")
        np.testing.assert_array_equal(open_video(tmp_path / "stack").frame(2), pixels[2])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("slices", [0, 1])
def test_nifti_over_time(tmp_path: Path, name: str, slices: int) -> None:
    pixels = rng.integers(0, 2**16, (5, 6, 4)).astype(np.uint16)  # frames, rows, columns
    stored = np.moveaxis(pixels, (0, 1, 2), (2, 1, 0))
    image = nibabel.Nifti1Image(stored[:, :, None] if slices else stored, np.diag([0.2, 0.3, 1, 1]))
    image.header.set_xyzt_units("mm", "msec")
    if slices:
        image.header.set_zooms((0.2, 0.3, 1, 40))
    nibabel.save(image, tmp_path / name)
    video = open_video(tmp_path / name)
    np.testing.assert_array_equal(np.stack(list(video.frames(0, 5))), pixels)
    assert video.pixel_spacing_mm == pytest.approx((0.3, 0.2))
    assert video.fps == (pytest.approx(25) if slices else None)
    assert video.pixel_aspect == pytest.approx(2 / 3)


def test_nifti_of_fractions_colours_and_volumes(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.linspace(-1, 1, 24).reshape(4, 3, 2), np.eye(4)), tmp_path / "a.nii")
    frames = np.stack(list(open_video(tmp_path / "a.nii").frames(0, 2)))
    assert frames.dtype == np.uint16 and frames.min() == 0 and frames.max() == 65535
    colour = rng.integers(0, 256, (4, 3, 2, 3)).astype(np.uint8)
    packed = colour.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(packed, np.eye(4)), tmp_path / "b.nii")
    np.testing.assert_array_equal(open_video(tmp_path / "b.nii").frame(1), colour[:, :, 1].swapaxes(0, 1))
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 3, 2, 2), np.uint8), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(VideoError, match="one slice"):
        open_video(tmp_path / "c.nii")
