"""A study from blind drafts to a model that learned from its release, with three simulated readers and one who decides.

The readers draw too little, too much, and beside the lesion. See `phantom_readers.drawn_by`.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import vivim
from phantom_readers import approve, drawn_by, open_reader, write_phantom
from PIL import Image
from vivim import Session, cli
from vivim.network.checkpoints import save_checkpoint


def call(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """Run a command that succeeds, and return its JSON."""
    capsys.readouterr()
    code = cli.main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def draw(video: Path, truth: np.ndarray) -> None:
    """Blind drafts of three readers, submitted."""
    for name, masks in drawn_by(truth).items():
        with open_reader(video, name) as session:
            for t, mask in enumerate(masks):
                session.correct(t, mask)
            session.set_state("submitted")


def pair_dice(masks: dict[str, np.ndarray]) -> dict[tuple[str, str], list[float]]:
    """Dice of each pair in each frame in which one of the two drew something, by hand."""
    found: dict[tuple[str, str], list[float]] = {}
    for one, other in itertools.combinations(sorted(masks), 2):
        pairs = [(a > 0, b > 0) for a, b in zip(masks[one], masks[other], strict=True)]
        scores = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs if a.any() or b.any()]
        found[one, other] = scores
    return found


def mean_dice(masks: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([vivim.dice(a, b) for a, b in zip(masks, truth, strict=True) if b.any()]))


def decide(video: Path) -> np.ndarray:
    """The senior accepts the consensus, and approves. Returns the masks."""
    with Session.open(video, reader="senior") as senior:
        senior.accept_frames(range(len(senior)))
        approve(senior)
        return np.asarray(senior.masks)


def test_a_study_goes_from_drafts_to_a_trained_model(
    tmp_path: Path, tiny_model: vivim.Vivim, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("SimpleITK")
    pytest.importorskip("lightning_fabric")
    study, truths = tmp_path / "study", {}
    for seed in range(3):
        folder = study / f"patient-{seed}"
        folder.mkdir(parents=True)
        truths[folder / "scan.nii.gz"] = write_phantom(folder / "scan.nii.gz", seed=seed, frames=5)
        draw(folder / "scan.nii.gz", truths[folder / "scan.nii.gz"])

    agreed = call(capsys, "agree", study, "--readers", "a,b,c", "--consensus", "senior")
    expected: dict[tuple[str, str], list[float]] = {}
    for truth in truths.values():
        for pair, scores in pair_dice(drawn_by(truth)).items():
            expected.setdefault(pair, []).extend(scores)
    for row in agreed["pairs"]:
        assert row["dice"] == pytest.approx(np.mean(expected[tuple(row["readers"])]), abs=1e-6)
    assert len(agreed["clips"]) == len(agreed["consensus"]) == 3
    assert all(len(one["queue"]) == 5 for one in agreed["consensus"])

    for video, truth in truths.items():
        decided = decide(video)
        assert mean_dice(decided, truth) > max(mean_dice(masks, truth) for masks in drawn_by(truth).values())

    out = tmp_path / "out"
    released = call(capsys, "release", study, "-o", out, "--format", "coco")
    assert [released["parts"][part]["clips"] for part in ("train", "validation", "test")] == [1, 1, 1]
    assert call(capsys, "release", "-o", out, "--check")["problems"] == []
    card = (out / "README.md").read_text("utf-8")
    assert "consensus of a, b, c" in card and "| a, b, c |" in card

    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors", {"licence": "test"})
    scores = call(capsys, "evaluate", out, "--model", tmp_path / "tiny.safetensors", "--device", "cpu")
    assert scores["frames"] == 15 and scores["empty_frames"] == 6 and len(scores["clips"]) == 3
    words = ["--initial", tmp_path / "tiny.safetensors", "--steps", 2, "--device", "cpu", "--input-size", 64]
    trained = call(capsys, "train", out / "train", "-o", tmp_path / "run", *words)
    assert (
        call(capsys, "evaluate", out / "test", "--model", trained["model"], "--device", "cpu")["frames"] == 5
    )


def test_a_real_clip_gets_a_better_consensus_than_each_reader(
    vivim_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("SimpleITK")
    clip, video = vivim_data / "polyp_cvc_clinicdb" / "01", tmp_path / "study" / "patient" / "clip"
    video.mkdir(parents=True)
    frames = sorted((clip / "frames").iterdir())[:4]
    masks = [next((clip / "masks").glob(f"{frame.stem}.*")) for frame in frames]
    for frame in frames:
        shutil.copy(frame, video)
    truth = np.stack([np.asarray(Image.open(mask).convert("L")) > 127 for mask in masks]).astype(np.uint8)
    draw(video, truth)
    agreed = call(capsys, "agree", video, "--readers", "a,b,c", "--consensus", "senior")
    for row in agreed["pairs"]:
        assert row["dice"] == pytest.approx(
            np.mean(pair_dice(drawn_by(truth))[tuple(row["readers"])]), abs=1e-6
        )
    decided = decide(video)
    assert mean_dice(decided, truth) > max(mean_dice(one, truth) for one in drawn_by(truth).values())
