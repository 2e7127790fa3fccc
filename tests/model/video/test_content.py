"""The content area of phantoms that were put into the frames machines paint around them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from vivim import open_video
from vivim.video import content_area, make_phantom

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


def test_the_sector_of_a_real_cine_is_found_and_what_its_header_says_is_believed() -> None:
    from pydicom.examples import get_path

    video = open_video(get_path("ybr_color"))
    assert content_area(video) == video.regions[0].box
    video.regions = ()
    y0, x0, y1, x1 = content_area(video)
    assert y0 < 40 and y1 > 195 and x0 < 90 and x1 > 240 and y1 < 210
