"""Models that see a part of the picture only: what they are shown, where their masks go, who decides it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from vivim import Session, cli
from vivim.api import propose
from vivim.imaging.roi import check_area, crop, size_of, uncrop
from vivim.inference.session_inputs import ResizedFrames
from vivim.video import make_phantom, write_video

AREA = (8, 16, 56, 80)


def test_what_is_cut_out_goes_back_to_its_place() -> None:
    picture = np.arange(72 * 88, dtype=np.uint8).reshape(72, 88)
    part = crop(picture, AREA)
    assert part.shape == size_of(AREA, (72, 88)) == (48, 64)
    whole = uncrop(part, AREA, (72, 88))
    np.testing.assert_array_equal(crop(whole, AREA), part)
    whole[8:56, 16:80] = 0
    assert not whole.any()
    assert crop(picture, None) is picture and size_of(None, (72, 88)) == (72, 88)


def test_areas_are_within_the_picture() -> None:
    assert check_area((0, 0, 72, 88), (72, 88)) is None and check_area(AREA, (72, 88)) == AREA
    for wrong in ((-1, 0, 40, 40), (0, 0, 73, 88), (0, 0, 40, 89)):
        with pytest.raises(ValueError, match="reaches beyond"):
            check_area(wrong, (72, 88))
    for small in ((8, 8, 12, 60), (20, 8, 10, 60)):
        with pytest.raises(ValueError, match="larger one"):
            check_area(small, (72, 88))


def test_a_model_sees_and_proposes_within_the_area_only(session: Session, sample, tiny_model) -> None:
    session.correct(5, sample.masks[5])
    session.set_area(AREA)
    shown = ResizedFrames(session, (48, 64))
    np.testing.assert_array_equal(shown(3), sample.frames[3][8:56, 16:80])
    for _ in propose(session, tiny_model, device="cpu"):
        pass
    assert session.frames_with("proposed") == [*range(5), *range(6, 12)]
    for t in session.frames_with("proposed"):
        outside = session.masks[t]
        assert outside.shape == (72, 88)
        outside[8:56, 16:80] = 0
        assert not outside.any()
    np.testing.assert_array_equal(session.masks[5], sample.masks[5])
    session.close()
    with Session.open(session.folder) as again:
        assert again.area == AREA
        again.set_area(None)
    assert json.loads((session.folder / "session.json").read_text())["area"] is None


def test_the_same_picture_cut_out_beforehand_gives_the_same_masks(
    tmp_path: Path, session: Session, sample, tiny_model
) -> None:
    from PIL import Image

    (tmp_path / "cut").mkdir()
    for t, frame in enumerate(sample.frames):
        Image.fromarray(frame[8:56, 16:80]).save(tmp_path / "cut" / f"{t:03}.png")
    session.set_area(AREA)
    with Session.open(tmp_path / "cut") as cut:
        for one in (session, cut):
            one.correct(5, crop(sample.masks[5], AREA) if one is cut else sample.masks[5])
            for _ in propose(one, tiny_model, device="cpu"):
                pass
        for t in cut.frames_with("proposed"):
            np.testing.assert_array_equal(crop(session.masks[t], AREA), cut.masks[t])


def test_the_command_line_takes_an_area_or_finds_it(tmp_path: Path, tiny_model, capsys) -> None:
    from vivim.network.checkpoints import save_checkpoint

    frames = np.zeros((6, 96, 128, 3), np.uint8)
    frames[:, 16:80, 32:96] = make_phantom(6, size=(64, 64)).frames[..., None]
    video = write_video(tmp_path / "scan.mp4", frames, 10.0)
    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors", {"licence": "test"})
    words = [
        "segment",
        str(video),
        "--model",
        str(tmp_path / "tiny.safetensors"),
        "--device",
        "cpu",
        "--json",
    ]
    for name, given, found in (("a", "16,32,80,96", (16, 32, 80, 96)), ("b", "auto", None)):
        assert cli.main([*words, "-o", str(tmp_path / name), "--area", given]) == 0
        with Session.open(tmp_path / name / "scan" / "session.vivim", read_only=True) as session:
            assert session.area is not None
            if found is not None:
                assert session.area == found
            np.testing.assert_allclose(session.area, (16, 32, 80, 96), atol=6)
    assert cli.main([*words, "-o", str(tmp_path / "c"), "--area", "0,0,97,20"]) == 1
    assert "reaches beyond the picture" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main([*words, "-o", str(tmp_path / "d"), "--area", "1,2,3"])
