"""Training: losses against formulae written out, datasets as they lie on disk, batches, a resumable run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vivim.errors import VivimError
from vivim.network import VivimConfig
from vivim.network.checkpoints import load_checkpoint
from vivim.training.data import Clip, binary_mask, find_clips, load_dataset
from vivim.training.losses import structure_loss
from vivim.training.sampler import Sampler
from vivim.training.trainer import TrainConfig, train

SIZE = (64, 64)


def blob_clip(name: str, seed: int, frames: int = 12) -> Clip:
    """A bright disc wandering over noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = np.stack([(ys - 20 - t) ** 2 + (xs - 25 - t) ** 2 < 120 for t in range(frames)])
    pictures = rng.normal(70, 12, (frames, *SIZE)) + 110 * masks
    return Clip(
        name, np.repeat(pictures.clip(0, 255).astype(np.uint8)[..., None], 3, -1), masks.astype(np.uint8)
    )


def write_clip(folder: Path, clip: Clip, scale: int = 255) -> Path:
    for kind in ("frames", "masks"):
        (folder / kind).mkdir(parents=True)
    for t, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True)):
        Image.fromarray(frame).save(folder / "frames" / f"{t:04d}.png")
        Image.fromarray(mask * np.uint8(scale)).save(folder / "masks" / f"{t:04d}.png")
    return folder


def test_structure_loss_is_the_formula() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 1, 40, 40), (torch.rand(2, 1, 40, 40) > 0.7).float()
    expected = []
    for logit, mask in zip(logits[:, 0], masks[:, 0], strict=True):
        padded = torch.nn.functional.pad(mask, (15, 15, 15, 15), value=float("nan"))
        mean = padded.unfold(0, 31, 1).unfold(1, 31, 1).flatten(2).nanmean(-1)
        weight = 1 + 5 * (mean - mask).abs()
        p = logit.sigmoid()
        cross = -(mask * p.log() + (1 - mask) * (1 - p).log())
        inter, union = (weight * p * mask).sum(), (weight * (p + mask - p * mask)).sum()
        expected.append((weight * cross).sum() / weight.sum() + 1 - (inter + 1) / (union + 1))
    torch.testing.assert_close(structure_loss(logits, masks), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_a_perfect_prediction_has_no_loss() -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    assert structure_loss((mask * 2 - 1) * 30, mask).item() < 1e-3


@pytest.mark.parametrize(
    ("values", "label", "expected"),
    [([0, 255, 254], None, [0, 1, 1]), ([0, 1, 2], None, [0, 1, 1]), ([0, 3, 4], 3, [0, 1, 0])],
)
def test_masks_of_both_kinds_are_understood(values, label, expected) -> None:
    assert binary_mask(np.array([values], np.uint8), label).tolist() == [expected]


def test_datasets_are_read_as_they_lie(tmp_path: Path) -> None:
    clip = blob_clip("a", 0, frames=3)
    write_clip(tmp_path / "one", clip)
    write_clip(tmp_path / "two", clip, scale=1)
    assert [p.name for p in find_clips(tmp_path, leave_out=("two",))] == ["one"]
    loaded = load_dataset(str(tmp_path), SIZE)
    assert len(loaded) == 2
    for got in loaded:
        np.testing.assert_array_equal(got.masks, clip.masks)
        np.testing.assert_array_equal(got.frames, clip.frames)


def test_bad_datasets_are_named(tmp_path: Path) -> None:
    with pytest.raises(VivimError, match="No clips"):
        load_dataset(str(tmp_path / "absent"), SIZE)
    folder = write_clip(tmp_path / "clip", blob_clip("a", 0, frames=2))
    (folder / "masks" / "0001.png").unlink()
    with pytest.raises(VivimError, match=r"no mask for 0001\.png"):
        load_dataset(str(folder), SIZE)
    (folder / "masks" / "0001.png").write_bytes(b"not a picture")
    with pytest.raises(VivimError, match=r"0001\.png"):
        load_dataset(str(folder), SIZE)


def test_batches_hold_what_they_promise() -> None:
    sampler = Sampler([blob_clip("a", 0)], [blob_clip("b", 1)], torch.device("cpu"), guided_share=0.7)
    guided = 0
    for _ in range(6):
        batch = sampler.batch(4, 5)
        assert batch.x.shape == (4, 5, 3, *SIZE)
        assert batch.guide.shape == (4, 5, 2, *SIZE)
        assert set(batch.masks.unique().tolist()) <= {0.0, 1.0}
        for part in (batch.x, batch.guide, batch.prior):
            assert torch.isfinite(part).all()
        known = batch.known
        guided += int(known.any(1).sum())
        assert not batch.guide[~known.any(1)].any()
        inside = batch.masks[known] > 0.5
        agreement = ((batch.guide[:, :, 0][known] > 0) == inside).float().mean() if known.any() else 1
        assert agreement > 0.98
    assert 4 < guided < 24


def test_a_run_resumes_where_it_stopped(tmp_path: Path) -> None:
    clips = [blob_clip("a", 0), blob_clip("b", 1)]
    config = TrainConfig(
        network=VivimConfig(size="b0", guided=True, input_size=SIZE),
        steps=2,
        frames_per_batch=4,
        clip_lengths=(2,),
        warm_up_steps=1,
    )
    first = list(train(clips, [], tmp_path / "run", config))
    assert first[-1].step == 2
    again = list(train(clips, [], tmp_path / "run", TrainConfig(**{**vars(config), "steps": 3})))
    assert again[-1].step == 3
    model = load_checkpoint(tmp_path / "run" / "model.safetensors")
    assert model.config.guided
    assert model.provenance["steps"] == 3


def test_training_overfits_one_clip(tmp_path: Path) -> None:
    clip = blob_clip("a", 0, frames=6)
    config = TrainConfig(
        network=VivimConfig(size="b0", input_size=SIZE),
        steps=70,
        frames_per_batch=6,
        clip_lengths=(3,),
        learning_rate=1e-3,
        warm_up_steps=5,
        average_decay=0.9,
        guided_share=0.0,
    )
    events = list(train([clip], [], tmp_path / "run", config, validation=[clip]))
    assert events[-1].validation == pytest.approx({"a": 1.0}, abs=0.05)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VivimError, match="Nothing to train on"):
        next(train([], [], tmp_path / "run"))
