"""The simulated annotator's report: when masks are good for good, means, a table that holds what the JSON holds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vivim.evaluation.simulated_annotator import evenly, interpolate, simulate
from vivim.evaluation.simulation_report import SimulationResult, corrections_until, summary, table


def result(clip: str, *history: float, choose: str = "queue", **changes: float) -> SimulationResult:
    values = {
        "interpolation_dice": 0.5,
        "propagation_dice": 0.6,
        "seconds": 2.0,
        "mean_seconds": 3.0,
        "all_frames_dice": 0.7,
        **changes,
    }
    return SimulationResult(
        clip=clip,
        frames=9,
        corrections=len(history) - 1,
        corrected=tuple(range(len(history) - 1)),
        dice=history[-1],
        promoted=False,
        history=history,
        common_frames=5,
        common_history=history,
        choose=choose,
        **values,
    )


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((0.95,), 0),
        ((0.5,), None),
        ((0.5, 0.91, 0.93), 1),
        ((0.92, 0.89, 0.93), 2),
        ((0.5, 0.95, 0.89), None),
        ((0.9, 0.9), 0),
    ],
)
def test_masks_are_good_once_they_stay_good(history: tuple[float, ...], expected: int | None) -> None:
    assert corrections_until(history) == expected


def test_the_summary_holds_means_and_what_was_reached() -> None:
    nothing = {"interpolation_dice": math.nan, "propagation_dice": math.nan}
    results = [
        result("a/1", 0.5, **nothing),
        result("a/1", 0.5, 0.95),
        result("a/2", 0.7, **nothing),
        result("a/2", 0.7, 0.75, mean_seconds=5.0),
    ]
    report = summary(results)
    assert report["mean"]["0"]["dice"] == pytest.approx(0.6)
    assert report["mean"]["0"]["propagation_dice"] is None
    assert report["mean"]["1"] == pytest.approx(
        {
            "dice": 0.85,
            "interpolation_dice": 0.5,
            "propagation_dice": 0.6,
            "mean_seconds": 4.0,
            "all_frames_dice": 0.7,
            "total_clicks": 0,
            "common_dice": 0.85,
            "clips": 2,
            "clips_below_baselines": 0,
            "clips_fallen": 0,
            "largest_fall": 0.0,
        }
    )
    assert report["corrections_until_good"] == {"a/1": 1, "a/2": None}
    assert report["clips"][1]["history"] == [0.5, 0.95]
    json.dumps(report, allow_nan=False)
    text = table(results)
    assert "flow (DIS)" in text
    assert "after: 1 corrections" in text
    assert "after: not reached" in text


def test_what_must_never_be_is_counted() -> None:
    fallen = result("a/1", 0.5, 0.9, 0.85, 0.8495, interpolation_dice=0.8)
    below = result("a/2", 0.5, 0.55, 0.6, 0.7, propagation_dice=0.75)
    assert fallen.falls == pytest.approx((0.05,)) and not fallen.below_baselines
    assert below.falls == () and below.below_baselines
    row = summary([fallen, below])["mean"]["3"]
    assert (row["clips_fallen"], row["clips_below_baselines"]) == (1, 1)
    assert row["largest_fall"] == pytest.approx(0.05)
    assert "1 of 2" in table([fallen, below])


def test_interpolation_is_halfway_between_and_holds_the_ends() -> None:
    ys, xs = np.mgrid[:40, :40]
    small, large = (np.hypot(ys - 20, xs - 20) < r for r in (6, 12))
    made = interpolate({1: small, 3: large}, 6) > 0
    np.testing.assert_array_equal(made[0], small)
    np.testing.assert_array_equal(made[5], large)
    assert np.sqrt(made[2].sum() / np.pi) == pytest.approx(9, abs=0.3)


def test_evenly_spaced_frames_stand_beside_the_queue_and_leave_its_report_as_it_was() -> None:
    queue = [result("a/1", 0.5, 0.9), result("a/2", 0.6, 0.8)]
    even = [result("a/1", 0.5, 0.7, choose="even"), result("a/2", 0.6, 0.6, choose="even")]
    both = summary([*queue, *even])
    assert {**both, "even": None} == {**summary(queue), "even": None}
    assert both["even"]["mean"]["1"]["dice"] == pytest.approx(0.65)
    assert summary(even)["mean"] == both["even"]["mean"]
    text = table([*queue, *even])
    assert "mean over clips (queue)" in text and "mean over clips (even)" in text


def test_evenly_spaced_is_in_the_middles() -> None:
    assert evenly(20, 1) == [10]
    assert evenly(20, 4) == [2, 7, 12, 17]
    assert evenly(5, 5) == [0, 1, 2, 3, 4]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    ys, xs = np.mgrid[:32, :32]
    for kind in ("frames", "masks"):
        (tmp_path / "dot" / kind).mkdir(parents=True)
    for t in range(9):
        dot = (np.hypot(ys - 16, xs - 8 - 2 * t) < 6).astype(np.uint8) * 255
        for kind in ("frames", "masks"):
            Image.fromarray(dot).save(tmp_path / "dot" / kind / f"{t:03d}.png")
    return tmp_path / "dot"


def test_the_queue_and_even_spacing_in_one_run(clip: Path, swift_model, monkeypatch) -> None:
    monkeypatch.setattr("vivim.evaluation.simulated_annotator._finetune", lambda session, model, device: None)
    results = list(simulate(clip, swift_model, [0, 1, 3], device="cpu", choose="both"))
    assert [(r.choose, r.corrections) for r in results] == [("queue", n) for n in (0, 1, 3)] + [
        ("even", n) for n in (0, 1, 3)
    ]
    assert [r.corrected for r in results if r.choose == "even"] == [(), (4,), (1, 4, 7)]
    assert len(results[2].history) == 4 and len(set(results[2].corrected)) == 3
    assert results[0].dice == results[3].dice
    assert [r.common_frames for r in results] == [6] * 3 + [6] * 3
    assert [len(r.common_history) for r in results] == [1, 2, 4, 1, 2, 3]
    with pytest.raises(ValueError, match="queue, even, both"):
        list(simulate(clip, swift_model, choose="best"))
