"""Models of several classes, from the corrected frames to the exports: names and labels stay what they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vivim import Session, Vivim, VivimConfig, finetune, load_model, propose
from vivim.errors import CheckpointError, FinetuneError, SessionError
from vivim.evaluation.simulated_annotator import simulate
from vivim.finetuning.events import Finished, Scored, Step
from vivim.finetuning.job import Trained, run
from vivim.finetuning.training_loop import NEW_CLASS_STEPS, STEP_CHOICES, step_choices
from vivim.imaging.metrics import dice, label_dice
from vivim.io.export import export
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.network.preprocessing import dice_of_logits
from vivim.network.targets import with_classes
from vivim.registry.info import NEW_CLASSES
from vivim.registry.registry import add_classes, model_info, save_version
from vivim.session.metadata import agreed

NAMES = ("fold", "glottis", "tool")
COLORS = np.array([[40, 40, 40], [220, 60, 60], [60, 220, 60], [60, 60, 220]], np.float32)
SIZE, FRAMES = 64, 8


def labels_of(t: int) -> np.ndarray:
    """Three discs of different colours that move apart."""
    ys, xs = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for label, (row, column) in enumerate([(16, 16 + t), (44, 18 + t), (30, 50 - t)], start=1):
        mask[(ys - row) ** 2 + (xs - column) ** 2 < 90] = label
    return mask


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for kind in ("frames", "masks"):
        (folder / kind).mkdir()
    for t in range(FRAMES):
        frame = COLORS[labels_of(t)] + rng.normal(0, 6, (SIZE, SIZE, 1))
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / "frames" / f"{t:03d}.png")
        Image.fromarray(labels_of(t)).save(folder / "masks" / f"{t:03d}.png")
    return folder


def network(classes: int = 3) -> Vivim:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", num_classes=classes, guided=True, input_size=(SIZE, SIZE))).eval()
    torch.nn.init.normal_(model.guide_embed.weight, std=0.05)  # type: ignore[union-attr]
    model.name, model.version = "three", "0123456789ab"
    model.classes = NAMES[:classes]
    return model


def test_from_corrected_frames_to_the_exports(clip: Path, tmp_path: Path) -> None:
    with Session.open(clip / "frames", folder=tmp_path / "work.vivim") as session:
        for t in (1, 6):
            session.correct(t, labels_of(t))
        events = list(finetune([session], network(), name="tuned", in_process=True))
        scored, finished = next(e for e in events if isinstance(e, Scored)), events[-1]
        assert isinstance(finished, Finished) and finished.promoted
        assert scored.after is not None and scored.after > 0.6, "colours tell the classes apart"
        tuned = load_model("tuned")
        assert (tuned.classes, tuned.config.num_classes) == (NAMES, 3)
        assert model_info(Path(finished.path)).description.endswith("3 classes")
        list(propose(session, tuned, device="cpu"))
        assert session.classes == NAMES
        found = np.mean([label_dice(session.masks[t], labels_of(t)) for t in (0, 2, 3, 4, 5, 7)])
        assert found > 0.6
        for t in (1, 6):
            np.testing.assert_array_equal(session.masks[t], labels_of(t))
        list(export(session, tmp_path / "out", ["coco", "csv", "tiff", "mp4"]))
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [(c["id"], c["name"]) for c in coco["categories"]] == [(1, "fold"), (2, "glottis"), (3, "tool")]
    with (tmp_path / "out" / "measurements.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["frame"] == "6"]
    assert {(row["class"], row["class_name"]) for row in rows} == {
        ("1", "fold"),
        ("2", "glottis"),
        ("3", "tool"),
    }
    with Session.open(tmp_path / "work.vivim") as again:
        assert again.classes == NAMES


def test_the_simulated_annotator_draws_and_scores_every_class(clip: Path, monkeypatch) -> None:
    monkeypatch.setattr("vivim.finetuning.training_loop.STEP_CHOICES", (1,))
    *_, last = simulate(clip, network(), [2], device="cpu")
    assert last.interpolation_dice > 0.8 and last.propagation_dice > 0.6
    assert 0 <= last.dice <= 1


def test_a_carried_mask_moves_the_outline_and_never_exchanges_classes() -> None:
    true = labels_of(3)
    logits = torch.full((1, 3, SIZE, SIZE), -3.0)
    for label in (1, 2, 3):
        logits[0, label - 1][torch.from_numpy(true == label)] = -1.0
    guess = torch.where(torch.from_numpy(true > 0), 1.0, -1.0)[None, None]
    assert dice_of_logits(logits, true) == 0
    assert dice_of_logits(logits + 2 * guess, true) == 1
    assert dice_of_logits(logits.amax(1, keepdim=True) + 2 * guess, true) == dice(true > 0, true) == 1


def test_absent_classes_do_not_flatter() -> None:
    one = np.array([[1, 1, 0, 0]])
    assert label_dice(one, one) == label_dice(one * 0, one * 0) == 1
    assert label_dice(one * 2, one) == 0
    assert label_dice(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 0, 0]])) == 0.5


def test_new_classes_are_learned_boldly_once(clip: Path, tmp_path: Path, monkeypatch) -> None:
    model = network()
    model.provenance = {NEW_CLASSES: True}
    monkeypatch.setattr("vivim.finetuning.training_loop.NEW_CLASS_STEPS", (3,))
    with Session.open(clip / "frames", folder=tmp_path / "work.vivim") as session:
        session.correct(2, labels_of(2))
        *_, last = events = list(run([session], model, device="cpu"))
    assert isinstance(last, Trained) and [e.total for e in events if isinstance(e, Step)] == [3, 3, 3]
    moved = (last.model.decoder.classify.weight - model.decoder.classify.weight).abs().mean()
    assert moved > 5 * 4e-4 / 5, "at the learning rate of new classes"
    assert step_choices(last.model) == STEP_CHOICES


def test_a_label_beyond_the_classes_is_said_before_it_is_learned_as_background(clip: Path, tmp_path) -> None:
    with Session.open(clip / "frames", folder=tmp_path / "work.vivim") as session:
        session.correct(2, labels_of(2))
        with pytest.raises(
            FinetuneError, match="Frame 2 has label 3, but this model knows 2 classes: fold, glottis"
        ):
            list(finetune([session], network(2), in_process=True))


@pytest.mark.parametrize(
    ("have", "names", "drawn", "expected"),
    [
        (("lesion",), NAMES, True, NAMES),
        (("lesion",), ("nodule",), True, ("nodule",)),
        (NAMES, ("lesion",), True, NAMES),
        (NAMES, NAMES[:2], True, NAMES),
        (NAMES[:2], NAMES, True, NAMES),
        (("polyp", "snare"), NAMES, False, NAMES),
        (("polyp", "snare"), NAMES, True, None),
    ],
)
def test_names_of_a_session_and_of_a_model(have, names, drawn, expected) -> None:
    if expected is None:
        with pytest.raises(SessionError, match="masks are of polyp, snare, but the model finds fold"):
            agreed(have, names, drawn)
    else:
        assert agreed(have, names, drawn) == expected


def test_a_model_gets_more_classes_and_finds_what_it_found(tmp_path: Path) -> None:
    one = network(1)
    save_version(one, "one", {"licence": "research only"})
    info = add_classes("one", NAMES, "three")
    assert (info.classes, info.parent, info.licence) == (NAMES, "one", "research only")
    assert step_choices(load_model("one")) == STEP_CHOICES
    assert step_choices(load_model("three")) == NEW_CLASS_STEPS
    x = torch.randn(1, 2, 3, SIZE, SIZE)
    with torch.inference_mode():
        before, after = load_model("one")(x), load_model("three")(x)
    torch.testing.assert_close(after, before.expand_as(after))
    for wrong in (("a", "a"), (), ("a", " ")):
        with pytest.raises(CheckpointError, match="no two alike"):
            with_classes(one, wrong)


def test_names_that_do_not_fit_the_network_are_replaced(tmp_path: Path) -> None:
    model = network()
    model.classes = ("lesion",)
    save_checkpoint(model, tmp_path / "old.safetensors", {})
    assert load_checkpoint(tmp_path / "old.safetensors").classes == ("class 1", "class 2", "class 3")
