"""Pictures as cameras and other tools write them, each against an independent reader or what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from vivim import open_video
from vivim.errors import VideoError

rng = np.random.default_rng(2)
GREY = rng.integers(0, 256, (3, 20, 34)).astype(np.uint8)
DEEP = rng.integers(0, 2**16, (3, 20, 34)).astype(np.uint16)
COLOUR = rng.integers(0, 256, (3, 20, 34, 3)).astype(np.uint8)


def folder_of(tmp_path: Path, ending: str, pictures, **options) -> Path:
    folder = tmp_path / "frames_of_it"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        made = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        made.save(folder / f"{i}.{ending}", **options)
    return folder


def frames_of(path: Path) -> np.ndarray:
    video = open_video(path)
    return np.stack(list(video.frames(0, len(video))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ("png", "jpg", "tif"))
def test_every_orientation_is_shown_as_viewers_do(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if ending == "tif" else {"exif": exif}
    smooth = [
        np.asarray(Image.fromarray(one).resize((34, 20)).resize((6, 4)).resize((34, 20))) for one in COLOUR
    ]
    folder = folder_of(tmp_path, ending, smooth, **options)
    truth = []
    for file in sorted(folder.iterdir()):
        with Image.open(file) as picture:
            truth.append(np.asarray(ImageOps.exif_transpose(picture).convert("RGB")))
    np.testing.assert_array_equal(frames_of(folder), truth)
    assert truth[0].shape[:2] == ((34, 20) if orientation >= 5 else (20, 34))


@pytest.mark.parametrize("pixels", (GREY, DEEP), ids=("8", "16"))
@pytest.mark.parametrize("white", (False, True))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", (None, "lzw", "deflate", "packbits", "zstd"))
def test_grey_tiffs_of_every_kind(
    tmp_path: Path, pixels, white: bool, order: str, compression: str | None
) -> None:
    options = {
        "photometric": "miniswhite" if white else "minisblack",
        "byteorder": order,
        "compression": compression,
        "predictor": compression not in (None, "packbits"),
    }
    tifffile.imwrite(tmp_path / "stack.tif", pixels, **options)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, one in enumerate(pixels):
        tifffile.imwrite(folder / f"{i}.tif", one, **options)
    shown = np.iinfo(pixels.dtype).max - pixels if white else pixels
    for path in (tmp_path / "stack.tif", folder):
        frames = frames_of(path)
        assert frames.dtype == pixels.dtype
        np.testing.assert_array_equal(frames, shown)


def test_tiffs_of_few_bits_inks_and_palettes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bits.tif", GREY > 128, photometric="miniswhite")
    np.testing.assert_array_equal(frames_of(tmp_path / "bits.tif"), np.where(GREY > 128, 0, 255))
    inks = [Image.fromarray(one).convert("CMYK") for one in COLOUR]
    inks[0].save(tmp_path / "inks.tif", save_all=True, append_images=inks[1:])
    assert np.abs(frames_of(tmp_path / "inks.tif").astype(int) - COLOUR).max() <= 1
    mapped = [Image.fromarray(one).quantize(16) for one in COLOUR]
    folder = folder_of(tmp_path, "tif", mapped)
    np.testing.assert_array_equal(frames_of(folder), [np.asarray(one.convert("RGB")) for one in mapped])


def test_tiffs_of_12_bits(tmp_path: Path) -> None:
    try:
        tifffile.imwrite(tmp_path / "twelve.tif", DEEP >> 4, photometric="miniswhite", bitspersample=12)
    except NotImplementedError as error:
        pytest.skip(f"this imagecodecs writes no pictures of 12 bits: {error}")
    np.testing.assert_array_equal(frames_of(tmp_path / "twelve.tif"), 4095 - (DEEP >> 4))


def test_one_stack_in_a_folder_is_the_video_and_one_among_others_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="minisblack")
    np.testing.assert_array_equal(frames_of(tmp_path), DEEP)
    tifffile.imwrite(tmp_path / "b.tif", DEEP[0])
    with pytest.raises(VideoError, match=r"a\.tif holds 3 pictures"):
        open_video(tmp_path)
    (tmp_path / "a.tif").unlink()
    np.testing.assert_array_equal(frames_of(tmp_path), DEEP[:1])


@pytest.mark.parametrize("ending", ("png", "webp", "tif"))
@pytest.mark.parametrize("mode", ("RGBA", "LA", "P"))
def test_what_is_transparent_is_black(tmp_path: Path, ending: str, mode: str) -> None:
    if (ending, mode) == ("webp", "P") or (ending, mode) == ("tif", "P"):
        pytest.skip("this kind of file holds no such pictures")
    alpha = rng.choice([0, 255, 90], (20, 34)).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([COLOUR[0], alpha]))
    picture = rgba.quantize(8) if mode == "P" else rgba.convert(mode)
    folder = folder_of(
        tmp_path, ending, [picture], **({"lossless": True, "exact": True} if ending == "webp" else {})
    )
    with Image.open(folder / f"0.{ending}") as stored:
        whole = stored.convert("RGBA")
    truth = np.asarray(
        Image.alpha_composite(Image.new("RGBA", whole.size, (0, 0, 0, 255)), whole).convert("RGB")
    )
    shown = frames_of(folder)[0]
    shown = np.repeat(shown[..., None], 3, 2) if shown.ndim == 2 else shown
    assert np.abs(shown.astype(int) - truth).max() <= 1
    assert not shown[np.asarray(whole)[..., 3] == 0].any()


def test_transparent_gifs_are_over_black(tmp_path: Path) -> None:
    pages = []
    for one in COLOUR:
        page = Image.fromarray(one).quantize(15)
        page.paste(15, (0, 0, 10, 20))
        page.info["transparency"] = 15
        pages.append(page)
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], transparency=15, disposal=2)
    assert not frames_of(tmp_path / "a.gif")[:, :, :10].any()


@pytest.mark.parametrize("digits", ("0123456789", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९"))
def test_names_are_counted_in_any_digits(tmp_path: Path, digits: str) -> None:
    for i in range(12):
        name = "".join(digits[int(c)] for c in str(i))
        Image.fromarray(np.full((8, 9), i * 20, np.uint8)).save(tmp_path / f"frame{name}.png")
    assert frames_of(tmp_path)[:, 0, 0].tolist() == [20 * i for i in range(12)]


def test_names_with_raised_digits_are_names(tmp_path: Path) -> None:
    for i, name in enumerate(("a²", "b³", "①")):
        Image.fromarray(np.full((8, 9), i, np.uint8)).save(tmp_path / f"{name}.png")
    assert len(open_video(tmp_path)) == 3


def test_the_shape_of_a_pixel_is_that_of_unequal_resolutions(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", resolution=(300, 150))
    assert open_video(tmp_path / "a.tif").pixel_aspect == pytest.approx(0.5)
    tifffile.imwrite(
        tmp_path / "b.tif", GREY, photometric="minisblack", resolution=(72, 72), resolutionunit="INCH"
    )
    assert open_video(tmp_path / "b.tif").pixel_aspect == 1.0
    for name, options in (
        ("png", {"dpi": (300, 150)}),
        ("jpg", {"dpi": (300, 150)}),
        ("tif", {"dpi": (300, 150)}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(COLOUR[0]).save(folder / f"0.{name}", **options)
        assert open_video(folder).pixel_aspect == pytest.approx(0.5, rel=1e-3)
