"""The content area of phantoms that were put into the frames machines paint around them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from vivim import open_video
from vivim.video import content_area, make_phantom
from vivim.video.readers.dicom_header import Region

BOX = (30, 60, 158, 220)


def framed(path: Path, texture: str, border: int, shape: str, letters: bool) -> Path:
    pictures = make_phantom(8, size=(BOX[2] - BOX[0], BOX[3] - BOX[1]), texture=texture, seed=3).frames
    pictures = np.clip(pictures.astype(int) + 25, 0, 255).astype(np.uint8)
    inside = np.ones(pictures.shape[1:3], np.uint8)
    if shape == "circle":
        inside[:] = 0
        cv2.ellipse(inside, (80, 64), (80, 64), 0, 0, 360, 1, -1)
    frames = np.full((8, 200, 300, 3), border, np.uint8)
    colour = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, -1)
    frames[:, BOX[0] : BOX[2], BOX[1] : BOX[3]] = np.where(inside[..., None] == 1, colour, border)
    if letters:
        for frame in frames:
            cv2.putText(frame, "MI 0.9  12 cm", (4, 190), cv2.FONT_HERSHEY_PLAIN, 0.9, (255 - border,) * 3)
            cv2.rectangle(frame, (240, 40), (290, 44), (90, 120, 200), -1)
    tifffile.imwrite(path, frames, photometric="rgb")
    return path


@pytest.mark.parametrize("border", [0, 255])
@pytest.mark.parametrize("letters", [False, True])
@pytest.mark.parametrize(
    ("texture", "shape"), [("speckle", "box"), ("speckle", "circle"), ("mucosa", "circle")]
)
def test_borders_letters_and_bars_are_left_out(
    tmp_path: Path, texture: str, border: int, shape: str, letters: bool
) -> None:
    found = content_area(open_video(framed(tmp_path / "a.tif", texture, border, shape, letters)))
    np.testing.assert_allclose(found, BOX, atol=10)


def test_without_a_border_or_content_it_is_the_whole_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)
    for frames in (noise, np.zeros_like(noise)):
        tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack")
        assert content_area(open_video(tmp_path / "a.tif")) == (0, 0, 40, 50)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union of two boxes."""
    height = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return height * width / (sum(areas) - height * width)


def shown(path: Path, frames: np.ndarray) -> tuple[int, int, int, int]:
    """What is found in frames ``(T, H, W, 3)``."""
    tifffile.imwrite(path, frames, photometric="rgb")
    return content_area(open_video(path))


def speckle(count: int, size: tuple[int, int], light: float, fades: float = 0.0) -> np.ndarray:
    """Speckle ``(T, H, W)`` of a mean brightness that fades with depth; it differs from frame to frame."""
    random = np.random.default_rng(1)
    depth = np.exp(-fades * np.linspace(0, 1, size[0]))[:, None]
    echoes = random.gamma(3, light / 3, (count, *size)) * depth + random.integers(1, 4, (count, *size))
    return np.clip(echoes, 0, 255).astype(np.uint8)


def sector(size: tuple[int, int], tip: tuple[int, int], near: int, far: int, half: float) -> np.ndarray:
    """A sector ``(H, W)`` of a convex probe: between two radii around a tip, so many degrees to either side."""
    y, x = np.mgrid[: size[0], : size[1]]
    radius, angle = np.hypot(y - tip[0], x - tip[1]), np.degrees(np.arctan2(x - tip[1], y - tip[0]))
    return (radius >= near) & (radius < far) & (np.abs(angle) <= half)


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def write_table(frames: np.ndarray, x: int, lines: int = 12, shade: int = 230) -> None:
    """Letters as a machine writes its settings."""
    for frame in frames:
        for k in range(lines):
            cv2.putText(frame, f"Gn {k}2 dB", (x, 40 + 22 * k), cv2.FONT_HERSHEY_PLAIN, 1, (shade,) * 3)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize(("light", "fades"), [(90, 0.0), (60, 4.0), (14, 1.0)])
def test_a_sector_is_found_among_tables_bars_and_a_title_however_dark_it_gets(
    tmp_path: Path, count: int, light: float, fades: float
) -> None:
    inside = sector((480, 640), (-40, 350), 100, 480, 35)
    frames = np.zeros((count, 480, 640, 3), np.uint8)
    frames[:] = np.where(inside, speckle(count, (480, 640), light, fades), 0)[..., None]
    frames[:, :30] = (70, 60, 40)
    write_table(frames, 5)
    for frame in frames:
        cv2.putText(
            frame, "GENERAL HOSPITAL  MI 0.9", (150, 22), cv2.FONT_HERSHEY_PLAIN, 1.2, (255, 255, 255)
        )
        frame[60:200, 622:634] = np.linspace(255, 0, 140).astype(np.uint8)[:, None, None]
        frame[210:350, 622:634] = cv2.applyColorMap(np.arange(140, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)
        cv2.line(frame, (120, 470), (600, 470), (120, 120, 120))
    assert overlap(shown(tmp_path / "a.tif", frames), bounds(inside)) > 0.9


def test_two_sectors_side_by_side_are_both_content_though_one_is_frozen(tmp_path: Path) -> None:
    left, right = (sector((400, 800), (-30, x), 60, 380, 28) for x in (200, 600))
    frames = np.zeros((5, 400, 800, 3), np.uint8)
    live = speckle(5, (400, 800), 80, 1.0)
    frames[:] = np.where(right, live, np.where(left, live[:1], 0))[..., None]
    write_table(frames[:, :, 340:], 5, 6)
    assert overlap(shown(tmp_path / "a.tif", frames), bounds(left | right)) > 0.9


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("corners", ["circle", "octagon"])
def test_an_endoscope_is_found_beside_its_caption_and_an_inset(
    tmp_path: Path, count: int, corners: str
) -> None:
    inside = np.zeros((360, 640), np.uint8)
    if corners == "circle":
        cv2.circle(inside, (430, 180), 170, 1, -1)
    else:
        points = [(300, 12), (560, 12), (610, 62), (610, 300), (560, 350), (300, 350), (250, 300), (250, 62)]
        cv2.fillPoly(inside, [np.array(points)], 1)
    tissue = make_phantom(count, size=(360, 640), texture="mucosa", seed=5).frames
    frames = np.where(inside[..., None] == 1, np.clip(tissue.astype(int) + 40, 0, 250), 14).astype(np.uint8)
    write_table(frames, 8, 8)
    frames[:, 260:350, 20:150] = (60, 190, 170)
    for frame in frames:
        cv2.circle(frame, (85, 305), 25, (20, 20, 20), 2)
    assert overlap(shown(tmp_path / "a.tif", frames), bounds(inside)) > 0.9


def test_a_picture_that_darkens_with_depth_or_is_tiny_is_taken_whole(tmp_path: Path) -> None:
    frames = np.repeat(speckle(1, (300, 256), 120, 3.0)[..., None], 3, -1)
    assert overlap(shown(tmp_path / "a.tif", frames), (0, 0, 300, 256)) > 0.95
    tiny = np.zeros((3, 20, 30, 3), np.uint8)
    tiny[:, 8:12, 10:20] = 200
    assert shown(tmp_path / "b.tif", tiny) == (0, 0, 20, 30)


def test_the_sector_of_a_real_cine_is_found_though_its_header_is_of_another_size() -> None:
    from pydicom.examples import get_path

    video = open_video(get_path("ybr_color"))
    drawn = (22, 42, 202, 298)
    assert overlap(video.regions[0].box, drawn) < 0.65
    assert overlap(content_area(video), drawn) > 0.93
    video.regions = ()
    assert overlap(content_area(video), drawn) > 0.93


@pytest.mark.parametrize(
    "stated",
    [
        pytest.param((10, 60, 480, 640), id="loose"),
        pytest.param((60, 300, 460, 640), id="of another size"),
    ],
)
def test_what_a_header_states_is_compared_with_what_is_seen(
    tmp_path: Path, stated: tuple[int, int, int, int]
) -> None:
    inside = sector((480, 640), (-40, 350), 100, 480, 35)
    frames = np.zeros((4, 480, 640, 3), np.uint8)
    frames[:] = np.where(inside, speckle(4, (480, 640), 90), 0)[..., None]
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="rgb")
    video = open_video(tmp_path / "a.tif")
    video.regions = (Region("tissue", stated, None),)
    assert overlap(content_area(video), bounds(inside)) > 0.9
