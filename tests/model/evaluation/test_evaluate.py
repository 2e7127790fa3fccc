"""Evaluation: scores by hand and by brute force, empty frames, intervals, the command's report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from vivim.cli import main
from vivim.errors import VivimError
from vivim.evaluation.evaluate import SCORES, calibration_error, evaluate, frame_scores, interval, overall
from vivim.evaluation.report import COLUMNS, summary, table
from vivim.imaging import metrics
from vivim.network import Vivim, VivimConfig
from vivim.network.checkpoints import save_checkpoint

DISC = (np.hypot(*np.mgrid[-20:20, -24:24]) < 9).astype(np.uint8)


def test_f_measure_by_hand() -> None:
    predicted, true = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 1])
    precision, recall = 2 / 3, 2 / 4
    expected = 1.3 * precision * recall / (0.3 * precision + recall)
    assert metrics.f_measure(predicted, true) == pytest.approx(expected)
    assert metrics.f_measure(predicted, true, 1.0) == pytest.approx(metrics.dice(predicted, true))
    assert metrics.f_measure(predicted * 0, true * 0) == 1.0


def test_hausdorff_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = np.roll(DISC, rng.integers(-8, 8, 2), (0, 1))
        b = np.roll(DISC, rng.integers(-8, 8, 2), (0, 1)) | (rng.random(DISC.shape) > 0.999)
        away = cdist(np.argwhere(metrics.outline(a)), np.argwhere(metrics.outline(b)))
        expected = max(np.percentile(away.min(1), 95), np.percentile(away.min(0), 95))
        assert metrics.hausdorff95(a, b) == pytest.approx(expected, abs=1e-3)


def test_hausdorff_of_empty_masks() -> None:
    nothing = np.zeros((30, 40))
    assert metrics.hausdorff95(nothing, nothing) == 0.0
    assert metrics.hausdorff95(nothing, nothing + 1) == 50.0
    assert metrics.hausdorff95(DISC, DISC) == 0.0


def test_outline_of_a_square() -> None:
    square = np.zeros((6, 6))
    square[1:5, 1:5] = 1
    assert metrics.outline(square).sum() == 12
    assert metrics.outline(np.ones((3, 3))).sum() == 8


def test_curves_are_scores_at_each_threshold() -> None:
    rng = np.random.default_rng(1)
    probability = rng.integers(0, 256, DISC.shape) / 255
    curves = metrics.threshold_curves(probability, DISC)
    for k in (0, 1, 77, 128, 255):
        cut = probability >= k / 255 - 1e-9
        assert curves["dice"][k] == pytest.approx(metrics.dice(cut, DISC))
        assert curves["jaccard"][k] == pytest.approx(metrics.jaccard(cut, DISC))
        assert curves["specificity"][k] == pytest.approx(metrics.specificity(cut, DISC))


def test_structure_scores_of_a_perfect_and_a_flat_map() -> None:
    perfect = frame_scores(0, DISC.astype(np.float32), DISC).scores
    assert perfect["s_measure"] == pytest.approx(1.0, abs=1e-6)
    assert perfect["e_measure"] > 0.98
    assert perfect["mae"] == 0.0
    nothing = frame_scores(0, np.full(DISC.shape, 0.25, np.float32), DISC * 0).scores
    assert nothing["s_measure"] == pytest.approx(0.75)
    assert nothing["mae"] == pytest.approx(0.25)


def test_structure_scores_are_those_that_other_papers_report() -> None:
    """The numbers are those of pysodmetrics 1.6.2, which does not admit the NumPy of today."""
    ys, xs = np.mgrid[:48, :64]
    true = (ys - 20) ** 2 + (xs - 40) ** 2 < 150
    found = 0.25 + 0.5 * ((ys - 23) ** 2 + (xs - 37) ** 2 < 170) + 0.004 * ((7 * ys + 13 * xs) % 31)
    assert metrics.s_measure(found, true) == pytest.approx(0.6310221554431712, abs=1e-9)
    assert metrics.e_measure(found, true) == pytest.approx(0.5804681241420966, abs=1e-9)
    for all_or_none in (np.zeros_like(true), np.ones_like(true)):
        sure = all_or_none.astype(float)
        assert metrics.s_measure(sure, all_or_none) == 1
        assert metrics.e_measure(sure, all_or_none) == pytest.approx(1, abs=5e-3)
    corner = np.zeros((5, 4))
    corner[4, 3] = 1  # three of the four regions have no pixel
    assert metrics.s_measure(corner, corner) == pytest.approx(1)


def test_intervals_come_from_clips() -> None:
    assert interval([0.7]) is None
    low, high = interval([0.5, 0.6, 0.7, 0.8, 0.9]) or (0, 0)
    assert 0.5 < low < 0.65 < 0.75 < high < 0.9
    assert interval([0.3, 0.9], seed=1) == interval([0.3, 0.9], seed=1)


class Oracle(Vivim):
    """Finds bright pixels, so that its scores are known."""

    def forward(self, x, guide=None, return_edges=False):  # type: ignore[no-untyped-def]
        return (x.mean(2, keepdim=True) - x.mean()) * 50


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two clips of a bright disc; the second has one frame without, and one where the mask is elsewhere."""
    for clip in range(2):
        for kind in ("frames", "masks"):
            (tmp_path / "data" / f"{clip}" / kind).mkdir(parents=True)
        for t in range(10):
            mask = np.zeros((64, 64), np.uint8)
            mask[10 + t : 30 + t, 20:40] = 255
            frame = np.repeat((mask // 2 + 60)[..., None], 3, -1)
            if clip and t == 9:
                mask[:] = 0
            elif clip and t == 4:
                mask[:] = 0
                mask[50:60, 5:15] = 255
            Image.fromarray(frame).save(tmp_path / "data" / f"{clip}" / "frames" / f"{t}.png")
            Image.fromarray(mask).save(tmp_path / "data" / f"{clip}" / "masks" / f"{t}.png")
    return tmp_path / "data"


def test_clips_are_scored_frame_by_frame(dataset: Path) -> None:
    model = Oracle(VivimConfig(input_size=(64, 64)))
    good, bad = evaluate(dataset, model, device="cpu")
    assert good.scores["dice"] == pytest.approx(1.0)
    assert good.scores["consistency"] == pytest.approx(1.0)
    assert bad.scores["dice"] == pytest.approx(0.8)
    assert bad.scores["hd95"] > 5  # type: ignore[operator]
    assert (bad.empty_frames, bad.false_alarms) == (1, 1)
    means, intervals = overall([good, bad])
    assert means["dice"] == pytest.approx(0.9)
    assert intervals["dice"] == pytest.approx((0.8, 1.0))
    text = table([good, bad])
    assert "False alarms in 1 of 1 frames without a lesion, misses in 0 of 19 with one" in text
    assert set(COLUMNS) == set(SCORES)
    labelled = list(evaluate(f"{dataset}:3", model, device="cpu"))  # no pixel has this label
    assert [clip.empty_frames for clip in labelled] == [10, 10]
    report = summary([good, bad])
    assert report["clips"][1]["false_alarms"] == 1
    assert (report["false_alarm_rate"], report["miss_rate"]) == (1.0, 0.0)
    assert summary([good])["false_alarm_rate"] is None
    json.dumps(report, allow_nan=False)


def test_a_network_that_sees_no_lesion_raises_no_false_alarm(dataset: Path) -> None:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(input_size=(64, 64), presence=True))
    assert model.presence is not None
    torch.nn.init.constant_(model.presence.classify.weight, 0.0)
    model.decoder.classify.bias.data.fill_(30.0)
    rates = {}
    for bias in (5.0, -5.0):
        torch.nn.init.constant_(model.presence.classify.bias, bias)
        report = summary(list(evaluate(dataset, model, device="cpu", stills=True)))
        rates[bias] = report["false_alarm_rate"], report["miss_rate"]
        chance = 1 / (1 + np.exp(-bias))
        assert report["presence_calibration_error"] == pytest.approx(abs(chance - 19 / 20), abs=1e-4)
    assert rates == {5.0: (1.0, 0.0), -5.0: (0.0, 1.0)}


def test_calibration_error_by_hand() -> None:
    said = [(0.05, False), (0.05, True), (0.95, True), (1.0, True)]
    assert calibration_error(said) == pytest.approx((abs(0.1 - 1) + abs(1.95 - 2)) / 4)
    assert calibration_error([]) is None


def test_only_what_was_kept_out_is_scored(dataset: Path) -> None:
    place = dataset.rename(dataset.parent / "polyp_cvc_clinicdb")
    (place / "1").rename(place / "20")
    model = Oracle(VivimConfig(input_size=(64, 64)))
    assert [clip.clip for clip in evaluate(place, model, device="cpu", part="kept out")] == [
        "polyp_cvc_clinicdb/20"
    ]


def test_the_command_reports_and_draws(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    save_checkpoint(Vivim(VivimConfig(input_size=(64, 64))), tmp_path / "m.safetensors", {})
    pictures = tmp_path / "worst"
    options = ["--model", str(tmp_path / "m.safetensors"), "--device", "cpu", "--leave-out", "0"]
    assert main(["evaluate", str(dataset), *options, "--pictures", str(pictures), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [clip["clip"] for clip in result["clips"]] == ["data/1"]
    assert result["interval"]["dice"] is None
    assert len(list(pictures.glob("*.png"))) == len(result["pictures"]) == 10


def test_what_cannot_be_evaluated_is_named(dataset: Path) -> None:
    model = Oracle(VivimConfig(input_size=(64, 64)))
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(dataset / "0" / "masks" / "3.png")
    with pytest.raises(VivimError, match=r"3\.png"):
        list(evaluate(dataset, model, device="cpu"))
