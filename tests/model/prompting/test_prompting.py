"""Prompts: obeyed to the pixel, near them only, on any picture, with random weights as well as with trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import vivim
from vivim import Session, Vivim, VivimConfig
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.prompting import PromptedFrame, encode_frame, encode_session_frame
from vivim.prompting.prompted_frame import FIXED

RNG = np.random.default_rng(3)


@pytest.fixture
def prompted_model() -> Vivim:
    torch.manual_seed(1)
    return Vivim(VivimConfig(size="b0", guided=True, prompts=True, num_classes=2, input_size=(64, 64))).eval()


def pictures(frames: int, height: int, width: int, colour: bool = True) -> np.ndarray:
    return RNG.integers(0, 255, (frames, height, width, 3) if colour else (frames, height, width), np.uint8)


@pytest.mark.parametrize(
    ("shape", "colour", "dtype"),
    [
        ((1, 40, 56), True, np.uint8),
        ((3, 130, 64), False, np.uint16),
        ((5, 64, 64), True, np.uint8),
        ((2, 300, 217), False, np.uint8),
    ],
)
def test_prompted_pixels_are_as_asked(
    prompted_model: Vivim, shape: tuple[int, int, int], colour: bool, dtype: type
) -> None:
    frames = pictures(*shape, colour=colour).astype(dtype)
    height, width = shape[1:]
    points = [(int(RNG.integers(height)), int(RNG.integers(width))) for _ in range(8)]
    points += [(0, 0), (height - 1, width - 1), (points[0][0], min(points[0][1] + 1, width - 1))]
    labels = [1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0]
    scribble = np.zeros((height, width), np.int8)
    scribble[height // 2, 3:-3], scribble[height // 3, 3:-3] = 1, -1
    asked = scribble.copy()
    for (y, x), label in zip(points, labels, strict=True):
        asked[y, x] = 1 if label else -1
    for class_id in (1, 2):
        logits = vivim.prompt(
            prompted_model, frames, shape[0] - 1, points, labels, scribble=scribble, class_id=class_id
        )
        assert logits.shape == (height, width) and logits.dtype == np.float32
        assert ((logits > 0) == (asked > 0))[asked != 0].all()


def test_of_two_labels_of_a_pixel_the_later_counts(prompted_model: Vivim) -> None:
    frames = pictures(1, 50, 50)
    for labels in ([1, 0], [0, 1]):
        logits = vivim.prompt(prompted_model, frames, 0, [(20, 20), (20, 20)], labels)
        assert (logits[20, 20] > 0) == bool(labels[1])


@pytest.mark.parametrize("label", [0, 1])
def test_what_is_far_from_a_click_stays(prompted_model: Vivim, label: int) -> None:
    """Also with random weights, which change everything at once."""
    frames, mask = pictures(3, 240, 320), np.zeros((240, 320), bool)
    mask[150:220, 200:300], mask[10:60, 10:80] = True, True
    prompted = PromptedFrame(encode_frame(prompted_model, frames, 1), mask=mask)
    ys, xs = np.mgrid[:240, :320]
    for y, x in ((30, 40), (40, 20), (8, 90)):
        before = prompted.mask
        prompted.add_point(y, x, label)
        cells = np.hypot((ys - y) * 64 / 240, (xs - x) * 64 / 320)
        far = cells > FIXED * 64 / 256 + 1.5
        assert far.sum() > 20_000
        assert (prompted.mask == before)[far].all()
        assert prompted.mask[y, x] == bool(label)


def test_every_step_can_be_taken_back(prompted_model: Vivim) -> None:
    prompted = PromptedFrame(encode_frame(prompted_model, pictures(1, 60, 60), 0))
    stroke = np.zeros((60, 60), np.int8)
    stroke[20, 10:50] = -1
    seen = [prompted.logits]
    for step in (
        lambda: prompted.add_point(30, 30, 1),
        lambda: prompted.add_point(20, 30, 1),
        lambda: prompted.add_box((10, 10, 50, 50)),
        lambda: prompted.add_scribble(stroke),
        lambda: prompted.replace(prompted.prompts.without_point(0)),
    ):
        step()
        seen.append(prompted.logits)
    assert prompted.prompts.points == ()  # the stroke went over one, the other was deleted
    for logits in reversed(seen[:-1]):
        assert prompted.undo()
        np.testing.assert_array_equal(prompted.logits, logits)
    assert not prompted.undo()
    assert not seen[0].any() or not prompted.mask.any()


def test_points_at_once_are_as_points_one_by_one(prompted_model: Vivim) -> None:
    frames, points, labels = pictures(4, 70, 90), [(30, 30), (50, 70), (10, 80)], []
    prompted = PromptedFrame(encode_frame(prompted_model, frames, 2))
    for y, x in points:
        labels.append(0 if prompted.mask[y, x] else 1)
        prompted.add_point(y, x, labels[-1])
        once = vivim.prompt(prompted_model, frames, 2, points[: len(labels)], labels)
        np.testing.assert_allclose(prompted.logits, once, atol=1e-4)


def test_every_kind_of_prompt_alone_is_enough(prompted_model: Vivim) -> None:
    frames, mask = pictures(1, 48, 48), np.zeros((48, 48), np.uint8)
    mask[10:30, 10:30] = 1
    for given in ({"box": (5, 5, 20, 20.5)}, {"mask": mask}, {"scribble": mask.astype(np.int8)}):
        assert np.isfinite(vivim.prompt(prompted_model, frames, 0, **given)).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Nothing is prompted"),
        ({"scribble": np.zeros((48, 60), np.int8)}, "Nothing is prompted"),
        ({"points": [(48, 3)]}, "outside of the picture"),
        ({"points": [(3, float("nan"))]}, "outside of the picture"),
        ({"points": [(3, 3)], "point_labels": [2]}, "1 \\(lesion\\) or 0"),
        ({"points": [(3, 3)], "point_labels": [1, 0]}, "1 points and 2 labels"),
        ({"box": (20, 5, 10, 30)}, "y0 <= y1"),
        ({"box": (20, 5, 30, 60)}, "beyond the picture"),
        ({"mask": np.ones((60, 48))}, "mask must have"),
        ({"scribble": np.full((48, 60), 3)}, "scribble holds"),
        ({"points": [(3, 3)], "frame": 2}, "no frame 2"),
        ({"points": [(3, 3)], "class_id": 3}, "class_id must be 1 to 2"),
        ({"points": [(3, 3)], "frames": np.zeros((48, 60, 3), np.uint8)}, r"frames\[None\]"),
    ],
)
def test_bad_prompts_are_told(prompted_model: Vivim, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vivim.prompt(prompted_model, **{"frames": pictures(2, 48, 60), "frame": 0, **given})


def test_a_model_without_prompts_is_refused(tiny_model: Vivim) -> None:
    with pytest.raises(vivim.CheckpointError, match="not trained for clicks"):
        vivim.prompt(tiny_model, pictures(1, 48, 48), 0, [(3, 3)], [1])
    with pytest.raises(ValueError, match="prompts=False"):
        tiny_model.embed_for_prompts([], torch.zeros(1, 3, 64, 64))


def test_a_file_keeps_the_prompt_head(prompted_model: Vivim, tmp_path: Path) -> None:
    frames = pictures(1, 48, 48)
    save_checkpoint(prompted_model, tmp_path / "a.safetensors", {})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    want = vivim.prompt(prompted_model, frames, 0, [(20, 20)], [1])
    np.testing.assert_array_equal(vivim.prompt(loaded, frames, 0, [(20, 20)], [1]), want)


def test_a_head_changes_nothing_that_is_not_prompted() -> None:
    torch.manual_seed(0)
    with_head = Vivim(VivimConfig(prompts=True, input_size=(64, 64))).eval()
    without = Vivim(VivimConfig(input_size=(64, 64))).eval()
    without.load_state_dict(
        {k: v for k, v in with_head.state_dict().items() if not k.startswith("prompt_head.")}
    )
    x = torch.randn(1, 2, 3, 64, 64)
    torch.testing.assert_close(with_head(x), without(x))


def test_only_the_area_of_a_session_is_seen(session: Session, prompted_model: Vivim) -> None:
    session.set_area((8, 16, 72, 80))
    prompted = PromptedFrame(encode_session_frame(session, prompted_model, 3))
    prompted.add_box((0, 0, 60, 60))
    prompted.add_point(40, 40, 1)
    mask = prompted.mask
    assert mask.shape == session.shape[1:3] and mask[40, 40]
    assert not mask[:8].any() and not mask[:, :16].any() and not mask[:, 80:].any()
    with pytest.raises(ValueError, match="outside of the picture area"):
        prompted.add_point(2, 2, 1)
    assert prompted.prompts.points == ((40.0, 40.0),)
