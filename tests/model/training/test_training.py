"""Training: losses against formulae written out, datasets as they lie on disk, batches, a resumable run."""

from __future__ import annotations

import csv
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import torch.nn.functional as F
from material import SIZE, blob_clip, learn
from PIL import Image
from vivim.cli import main
from vivim.errors import VivimError
from vivim.network import VivimConfig
from vivim.network.checkpoints import load_checkpoint
from vivim.propagation.mask_propagator import MaskGuide
from vivim.session import Session
from vivim.training import propagated_masks
from vivim.training.augmentation import regrained
from vivim.training.batch import Batch
from vivim.training.config import Phase, TrainConfig
from vivim.training.datasets import Clip, binary_mask, find_clips, load_dataset
from vivim.training.losses import structure_loss
from vivim.training.propagated_masks import PropagatedMasks
from vivim.training.recipes import default_recipe, read_recipe, recipe_names, to_config
from vivim.training.sampler import Sampler
from vivim.training.synthetic_lesions import implanted, with_vessels
from vivim.training.trainer import train
from vivim.training.training_windows import MAX_SPAN, draw_windows
from vivim.video import make_phantom, write_video


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


@pytest.mark.parametrize(
    ("given", "frames", "masks"),
    [
        ("cvc", "cvc/1/Frame", "cvc/1/GT"),
        ("vtus", "vtus/Train/1", "vtus/Train_GT/1"),
        ("vtus/Train", "vtus/Train/1", "vtus/Train_GT/1"),
        ("sun", "sun/Frame/1", "sun/GT/1"),
        ("sun/Frame", "sun/Frame/1", "sun/GT/1"),
        ("vos", "vos/JPEGImages/1", "vos/Annotations/1"),
    ],
)
def test_public_layouts_are_recognised(tmp_path: Path, given: str, frames: str, masks: str) -> None:
    clip = blob_clip("a", 0, frames=3)
    write_clip(tmp_path / "clip", clip)
    for kind, place in (("frames", frames), ("masks", masks)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clip" / kind).rename(tmp_path / place)
    (loaded,) = load_dataset(str(tmp_path / given), SIZE)
    np.testing.assert_array_equal(loaded.masks, clip.masks)
    np.testing.assert_array_equal(loaded.frames, clip.frames)


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
    for number in range(6):
        batch = sampler.batch(number, 4, 5)
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


def test_a_batch_follows_from_its_number(tmp_path: Path) -> None:
    made = [Sampler([blob_clip("a", 0)], [blob_clip("b", 1)], torch.device("cpu"), 7) for _ in range(2)]
    made[1].batch(0, 2, 4)
    one, two = (sampler.batch(5, 3, 4, (32, 32)) for sampler in made)
    for a, b in zip(one.tensors(), two.tensors(), strict=True):
        assert torch.equal(a, b)
    assert one.x.shape == (3, 4, 3, 32, 32)
    assert not torch.equal(one.x, made[0].batch(6, 3, 4, (32, 32)).x)


@pytest.mark.parametrize("length", [1, 3, 6, 25, 120])
def test_windows_stay_in_their_clip(length: int) -> None:
    rng = np.random.default_rng(length)
    for frames in (2, 4, 8):
        windows = draw_windows(rng, np.full(200, length), frames, 0.7)
        assert (windows.starts >= 0).all()
        assert (windows.starts + windows.offsets[:, -1] < length).all()
        assert (np.diff(windows.offsets, axis=1) >= 0).all()
        assert (windows.offsets[:, -1] < max(MAX_SPAN, frames)).all()
        assert 0.5 < windows.known.any(1).mean() < 0.9


def test_masks_are_propagated_as_in_use() -> None:
    clip = blob_clip("a", 0)
    frames, known = np.array([2, 3, 4, 7, 10, 10]), np.array([False, True, False, False, True, True])
    propagated = PropagatedMasks([blob_clip("b", 1), clip])
    guide = MaskGuide(lambda t: clip.frames[t], {t: clip.masks[t] > 0 for t in (3, 10)})
    for _ in range(2):  # worked out, and found again
        distance, away = propagated.window(1, frames, known)
        assert away.tolist() == [1, 0, 1, 3, 0, 0]
        for slot, t in enumerate(frames.tolist()):
            np.testing.assert_allclose(distance[slot], guide.distance(t)[0], atol=0.3)


def test_without_known_frames_nothing_is_propagated() -> None:
    distance, away = PropagatedMasks([blob_clip("a", 0)]).window(0, np.arange(3), np.zeros(3, bool))
    assert not distance.any()
    assert np.isinf(away).all()


def test_without_guidance_nothing_is_asked_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PropagatedMasks, "window", lambda *_: pytest.fail("asked"))
    batch = Sampler([blob_clip("a", 0)], [], torch.device("cpu"), guided_share=0.0).batch(0, 3, 4)
    assert not batch.guide.any() and not batch.known.any()


def test_old_propagated_masks_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagated_masks, "KEPT", 4 * SIZE[0] * SIZE[1])
    propagated, clip = PropagatedMasks([blob_clip("a", 0)]), blob_clip("a", 0)
    for first in (0, 3, 6, 0):
        known = np.array([True, False, False, False])
        distance, _ = propagated.window(0, first + np.arange(4), known)
        guide = MaskGuide(lambda t: clip.frames[t], {first: clip.masks[first] > 0})
        np.testing.assert_allclose(distance[3], guide.distance(first + 3)[0], atol=0.3)
        assert len(propagated._found) <= 4


def test_other_processes_precompute_masks() -> None:
    clips = [blob_clip("a", 0, 4), blob_clip("b", 1, 3)]
    propagated, before = PropagatedMasks(clips), set(multiprocessing.active_children())
    propagated.precompute(1)
    while len(propagated._found) < 4 * 3 + 3 * 2:
        time.sleep(0.02)
    alone = PropagatedMasks(clips)
    for key in [
        (clip, *pair) for clip in (0, 1) for pair in itertools.permutations(range(len(clips[clip].masks)), 2)
    ]:
        (steps, confidence), (again, trusted) = propagated._found.get(key), alone._propagated(*key)
        np.testing.assert_array_equal(steps, again)
        assert confidence == trusted
    folder = Path(propagated._folder.name)
    propagated.close()
    assert set(multiprocessing.active_children()) <= before
    assert not folder.exists()


def test_processes_that_precompute_end_with_a_killed_run(tmp_path: Path) -> None:
    """The folder of a killed run stays, as anything of a killed process does in a temporary folder."""
    script = tmp_path / "run.py"
    script.write_text(
        "import multiprocessing, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from material import blob_clip\n"
        "from vivim.training.propagated_masks import PropagatedMasks\n"
        "if __name__ == '__main__':\n"
        "    propagated = PropagatedMasks([blob_clip('a', 0, 4)])\n"
        "    propagated.precompute(1)\n"
        "    while len(propagated._found) < 12: time.sleep(0.02)\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as run:
        assert run.stdout is not None
        try:
            children = [psutil.Process(int(pid)) for pid in run.stdout.readline().split()]
        finally:
            run.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        assert children and not alive


def test_implants_have_exact_outlines() -> None:
    rng = np.random.default_rng(0)
    tissue = rng.normal(110, 25, (2, 128, 128, 1)).clip(0, 255).astype(np.uint8).repeat(3, -1)
    background = Clip("tissue", tissue, np.zeros((2, 128, 128), np.uint8), stills=True)
    made = implanted([background], 20, seed=1)
    assert made.frames.shape == (20, 128, 128, 3)
    seen = 0
    for frame, mask in zip(made.frames, made.masks, strict=True):
        assert 60 < mask.sum() < 0.5 * mask.size
        seen += abs(frame[mask > 0].mean() - frame[mask == 0].mean()) > 10
    assert seen >= 14  # the others are as bright as the tissue, or lie beside a vessel as dark


def test_grain_changes_from_frame_to_frame_and_what_is_coarse_stays() -> None:
    rng = np.random.default_rng(0)
    ys = np.mgrid[:64, :64][0]
    still = 100 + 60 * np.sin(ys / 20) + rng.normal(0, 15, (3, 64, 64))
    clips = torch.from_numpy(still).float().expand(40, 3, 3, 64, 64)
    made = regrained(rng, clips)
    changed = (made - clips).abs().flatten(1).amax(1) > 1
    assert 4 <= changed.sum() <= 20
    assert (made[~changed] == clips[~changed]).all()
    other = made[changed]
    assert (other[:, 0] - other[:, 1]).abs().mean() > 1
    coarse = F.avg_pool2d((other - clips[changed]).flatten(0, 1), 16)
    assert coarse.abs().mean() < 2
    assert float(other.std((-2, -1)).mean()) == pytest.approx(float(clips[0].std((-2, -1)).mean()), rel=0.05)


def test_vessels_keep_off_the_lesion() -> None:
    tissue, lesion = np.full((96, 96), 120, np.float32), np.zeros((96, 96), np.float32)
    lesion[30:60, 30:60] = 1
    dark = 0
    for seed in range(8):
        picture = with_vessels(np.random.default_rng(seed), tissue, lesion)
        assert picture[lesion > 0].min() > 100
        dark += picture.min() < 60
    assert dark >= 6


def test_a_run_resumes_to_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [blob_clip("a", 0), blob_clip("b", 1)]
    config = TrainConfig(
        network=VivimConfig(size="b0", guided=True, input_size=SIZE, temporal_stages=(3,)),
        steps=4,
        phases=(Phase(0.5, 4, (2,), (32, 32)), Phase(1.0, 4, (2,))),
        warm_up_steps=1,
        save_every=2,
    )
    list(train(clips, [], tmp_path / "whole", config))
    batch = Sampler.batch

    def power_cut(sampler: Sampler, number: int, *rest: Any) -> Batch:
        if number == 2:
            raise KeyboardInterrupt
        return batch(sampler, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Sampler, "batch", power_cut)
        list(train(clips, [], tmp_path / "cut", config))
    assert load_checkpoint(tmp_path / "cut" / "model.safetensors").provenance["steps"] == 2
    assert list(train(clips, [], tmp_path / "cut", config))[-1].step == 4
    one, two = (load_checkpoint(tmp_path / run / "model.safetensors") for run in ("whole", "cut"))
    assert one.provenance["steps"] == two.provenance["steps"] == 4
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_phases_follow_one_another() -> None:
    config = TrainConfig(phases=(Phase(0.4, 32, (4, 8), (160, 160)), Phase(1.0, 16, (8,))))
    assert config.batch_shape(0.0, 1) == (4, 8, 160, 160)
    assert config.batch_shape(0.4, 1) == (2, 8, 256, 256)
    assert config.shapes() == {(8, 4, 160, 160), (4, 8, 160, 160), (2, 8, 256, 256)}


def test_training_overfits_one_clip(tmp_path: Path) -> None:
    clip = blob_clip("a", 0, frames=6)
    config = TrainConfig(
        network=VivimConfig(size="b0", input_size=SIZE, temporal_stages=(3,)),
        steps=40,
        phases=(Phase(1.0, 6, (3,)),),
        learning_rate=2e-3,
        warm_up_steps=5,
        average_decay=0.7,
        guided_share=0.0,
    )
    events = list(train([clip], [], tmp_path / "run", config, validation=[clip]))
    assert events[-1].validation == pytest.approx({"a": 1.0}, abs=0.05)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VivimError, match="Nothing to train on"):
        next(train([], [], tmp_path / "run"))


def gradients(state: dict) -> torch.Tensor:
    """A tenth of the gradients of the first step, all in one: what Adam keeps of them."""
    return torch.cat([one["exp_avg"].flatten() for one in state["optimiser"]["state"].values()]).double()


def statistics(state: dict) -> torch.Tensor:
    """What BatchNorm has seen in the first step."""
    return torch.cat([v.flatten() for k, v in state["trainable"].items() if "running" in k]).double()


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """Loss, gradients and statistics of the first step differ by how float32 sums are rounded, some 1e-6.

    From then on Adam goes by the sign of a gradient, and where one is nearly 0 the processor's rounding decides it:
    later losses are alike, and cannot be compared more closely.
    """
    script = Path(__file__).with_name("material.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    (tmp_path / "two").mkdir()
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    curves = [json.loads((tmp_path / "two" / f"curve{rank}.json").read_text()) for rank in range(2)]
    expected = learn(tmp_path / "one")
    assert len(expected) == 2 and curves[0] == curves[1]
    assert curves[0][0] == pytest.approx(expected[0], rel=1e-4)
    one, two = (torch.load(tmp_path / run / "first.pt", weights_only=True) for run in ("one", "two"))
    for part in (gradients, statistics):
        off = (part(two) - part(one)).norm() / part(one).norm()
        assert off < 1e-4, part.__name__
    assert curves[0] == pytest.approx(expected, rel=1e-2)


def test_recipes_of_the_package_are_usable() -> None:
    for name in recipe_names():
        to_config(read_recipe(name))
    paper = to_config(read_recipe(default_recipe("b3", "cuda")))
    assert (paper.network.size, paper.batch_shape(0.0, 0), paper.weight_decay) == ("b3", (4, 5, 256, 256), 0)
    assert to_config(read_recipe("ablation-one-scale")).network.temporal_stages == (3,)
    with pytest.raises(VivimError, match="no recipe"):
        read_recipe("absent")
    with pytest.raises(VivimError, match="cannot be used"):
        to_config({"stepps": 3})


def test_the_command_trains_chooses_and_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        write_clip(tmp_path / "data" / name, blob_clip(name, 0, frames=4))
    (tmp_path / "data" / "a" / "masks" / "0002.png").write_bytes(b"not a picture")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(
        'base = "b0-cpu"\nlog_every = 1\nvalidate_every = 1\npatience = 1\nlearning_rate = 0.0\n'
        "final_learning_rate = 0.0\nsteps = 9\nnetwork = { input_size = [32, 32] }\n"
        "phases = [{ until = 1.0, frames_per_batch = 2, clip_lengths = [2] }]\n"
    )
    run = tmp_path / "run"
    command = ["train", str(tmp_path / "data"), "--config", str(recipe), "--set-aside", "0.3", "--json"]
    command += ["-o", str(run), "--device", "cpu"]
    assert main(command) == 1
    assert "0002.png" in capsys.readouterr().err
    assert main([*command, "--resume", "--skip-bad"]) == 1
    assert "no run to resume" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    printed = capsys.readouterr()
    assert "left out" in printed.err
    result = json.loads(printed.out)
    assert result["step"] < 9  # nothing is learnt at a rate of 0, so patience ends
    assert load_checkpoint(Path(result["model"])).provenance["dice_on_validation_clips"] is not None
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted({int(row["step"]) for row in rows}) == list(range(1, result["step"] + 1))
    assert all(float(row["validation_dice"]) >= 0 for row in rows)


def test_sessions_are_training_material(tmp_path: Path) -> None:
    phantom = make_phantom(frames=5, size=SIZE, seed=0)
    write_video(tmp_path / "v.mp4", phantom.frames, 10.0)
    with Session.open(tmp_path / "v.mp4") as session:
        session.correct(1, phantom.masks[1])
        session.correct(3, phantom.masks[3])
        folder = session.folder
    (clip,) = load_dataset(str(tmp_path), SIZE)
    assert f"{clip.name}.vivim" == folder.name
    np.testing.assert_array_equal(clip.masks, phantom.masks[[1, 3]])
    assert clip.frames.shape == (2, *SIZE, 3)


@pytest.mark.parametrize("given", ["set", "set/benign"])
def test_clips_are_found_in_folders_of_folders(tmp_path: Path, given: str) -> None:
    write_clip(tmp_path / "set" / "benign" / "1", blob_clip("a", 0, frames=2))
    assert [clip.name for clip in load_dataset(str(tmp_path / given), SIZE)] == ["benign/1"]
