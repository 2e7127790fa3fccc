"""The robot that clicks: where, how often, and what it reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vivim import Vivim, VivimConfig, boundary_f, cli
from vivim.evaluation.simulated_annotator import simulate
from vivim.evaluation.simulated_clicks import ClickResult, click, click_summary, next_click, prompt_items
from vivim.network.checkpoints import save_checkpoint


@pytest.fixture
def prompted_model() -> Vivim:
    torch.manual_seed(1)
    return Vivim(VivimConfig(guided=True, prompts=True, input_size=(64, 64))).eval()


class Perfect:
    """Stands for a prompted frame that puts the whole wrong region right."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.mask, self.asked = truth, np.zeros_like(truth), []

    def add_point(self, y: int, x: int, label: int) -> None:
        from skimage.measure import label as regions

        wrong = regions((self.truth != self.mask), connectivity=1)
        self.asked.append((y, x, label))
        self.mask = self.mask ^ (wrong == wrong[y, x])


def test_the_robot_clicks_deepest_inside_the_largest_wrong_region() -> None:
    truth, mask = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    truth[10:31, 10:41], mask[40:60, 50:80] = True, True
    assert next_click(mask, truth)[2] == 1  # 11 deep against 10 with the border as outside
    assert next_click(mask, truth)[0] == 20
    mask[36:60, 50:80] = True
    y, x, label = next_click(mask, truth)
    assert label == 0 and y in (47, 48) and 60 <= x <= 69
    assert next_click(truth, truth) is None


def test_the_robot_stops_when_it_is_content() -> None:
    truth = np.zeros((60, 80), bool)
    truth[5:30, 5:30], truth[38:54, 50:66], truth[55:57, 2:5] = True, True, True
    robot = Perfect(truth)
    scores = [score for score, _ in click(robot, truth, 20, 0.9)]  # type: ignore[arg-type]
    assert len(scores) == 2 and scores[-1] >= 0.9 > scores[0]
    assert len(list(click(Perfect(truth), truth, 20, 2.0))) == 3  # type: ignore[arg-type]
    assert len(list(click(Perfect(truth), truth, 1, 2.0))) == 1  # type: ignore[arg-type]


def test_what_is_never_reached_counts_as_twenty() -> None:
    results = [
        ClickResult("a/1", (0.5, 0.86, 0.8, 0.91), 0.7, 10.0),
        ClickResult("a/2", (0.3, 0.4), 0.5, 30.0),
    ]
    report = click_summary(results)["clicks"]
    assert report["noc85"] == 11 and report["noc90"] == 12
    assert report["dice"] == {"1": 0.4, "2": 0.63, "3": 0.6, "5": 0.655, "10": 0.655}
    assert report["ms_per_click"] == 20.0 and report["frames"] == 2
    assert click_summary([])["clicks"]["noc85"] is None


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert cli.main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_clicks_on_single_frames(
    sample: Any, prompted_model: Vivim, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros(sample.masks.shape[1:], np.uint8)).save(sample.clip / "masks" / "0000.png")
    items = list(prompt_items(sample.clip, 1))
    assert [len(item.frames) for item in items] == [3, 3, 3, 3, 2]  # six, the first without a lesion
    assert all(item.truth.any() and item.frames.shape[1:3] == item.truth.shape for item in items)
    assert len(list(prompt_items(sample.clip, 1, stills=True))) == 11
    save_checkpoint(prompted_model, tmp_path / "m.safetensors", {})
    words = ("simulate", sample.clip, "--annotator", "clicks", "--per-frame", "--device", "cpu")
    report = run_json(capsys, *words, "--model", tmp_path / "m.safetensors")
    clicks = report["clicks"]
    assert set(clicks["dice"]) == {"1", "2", "3", "5", "10"} and clicks["frames"] == 5
    assert 1 <= clicks["noc85"] <= clicks["noc90"] <= 20 and clicks["ms_per_click"] > 0


def test_clicks_in_the_loop_are_counted(sample: Any, prompted_model: Vivim) -> None:
    first, last = simulate(sample.clip, prompted_model, (0, 1), device="cpu", clicks=3)
    assert first.total_clicks == 0 and 1 <= last.total_clicks <= 3
    assert 0 <= last.all_frames_dice <= 1


def test_the_first_frame_alone_is_scored_as_trackers_are(sample: Any, tiny_model: Vivim) -> None:
    (result,) = simulate(sample.clip, tiny_model, device="cpu", choose="first")
    assert result.corrected == (0,) and result.corrections == 1
    assert result.j_and_f == pytest.approx((result.jaccard + result.boundary_f) / 2)


def test_outlines_count_as_right_within_the_tolerance() -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:60, 30:60] = True
    assert boundary_f(mask, mask) == 1 and boundary_f(np.roll(mask, 2, 0), mask) == 1
    assert boundary_f(np.roll(mask, 20, (0, 1)), mask) < 0.3
    assert boundary_f(~mask & False, mask) == 0 and boundary_f(mask & False, mask & False) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--per-frame",),
        ("--stills", "--annotator", "clicks"),
        ("--annotator", "clicks", "--choose", "even"),
    ],
)
def test_options_that_do_not_go_together_are_told(sample: Any, words: tuple[str, ...]) -> None:
    assert cli.main(["simulate", str(sample.clip), *words]) != 0
