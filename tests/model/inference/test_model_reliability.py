"""How well a network by itself knows what a video shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vivim import Session, Vivim, VivimConfig
from vivim.inference.batch_runner import Runner
from vivim.inference.feature_cache import EncodedWindows
from vivim.inference.model_reliability import (
    MAX_JUDGED,
    QUARTERS,
    expected_dice,
    model_reliability,
    reliability_from,
    spread_evenly,
)
from vivim.inference.session_inputs import ResizedFrames, guide_of
from vivim.inference.sliding_windows import plan

SIZE = (64, 64)


class Bright(Runner):
    """Says of what is brighter than the mean that it is a lesion, or that it is none."""

    def __init__(self, sign: float) -> None:
        super().__init__(Vivim(VivimConfig(size="b0", input_size=SIZE, guided=True)), torch.device("cpu"))
        self.sign, self.windows = sign, 0

    def _encoded(self, batch, encoded_cache):
        self.windows += 1
        return batch

    def _decoded(self, batch):
        x = batch.x[0, :, :1]
        return self.sign * (x - x.mean((-2, -1), keepdim=True) - 0.5), None


@pytest.fixture
def corrected(session: Session, sample) -> Session:
    for t in (1, 4, 10):
        session.correct(t, sample.masks[t])
    return session


def asked(session: Session, runner: Runner, weights: str = "these") -> float:
    reader = ResizedFrames(session, SIZE)
    guide = guide_of(session, reader, SIZE)
    done = session.frames_with("corrected")
    frames = len(session)
    windows = plan([t for t in range(frames) if t not in done], done, frames, 4, 0)
    encoded_cache = EncodedWindows(reader.cache, "", guide, frames)
    return model_reliability(session, reader, runner, guide, windows, encoded_cache, weights)


def test_it_is_how_right_the_network_is_where_a_person_was(corrected: Session) -> None:
    assert asked(corrected, Bright(1)) > 0.85
    assert asked(corrected, Bright(-1), "others") < 0.2


def test_few_windows_are_looked_at_and_once_for_the_same_weights(corrected: Session, sample) -> None:
    runner = Bright(1)
    first = asked(corrected, runner)
    with_corrected_frames = 3
    assert runner.windows <= with_corrected_frames + len(QUARTERS)
    before = runner.windows
    assert asked(corrected, runner) == first and runner.windows == before
    corrected.correct(5, sample.masks[5])
    asked(corrected, runner)
    assert runner.windows == before + 1
    asked(corrected, runner, "other weights")
    assert runner.windows > before + 1


def test_few_frames_tell() -> None:
    assert spread_evenly([3, 9]) == [3, 9]
    many = spread_evenly(range(100))
    assert len(many) == MAX_JUDGED and many == sorted(set(many)) and many[0] > 0 and many[-1] < 99


def test_certainty_is_the_dice_that_a_network_expects() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 3, (1, 200, 200)))
    inside = logits[0].sigmoid().numpy()
    mask = inside > 0.5
    drawn = [rng.random(inside.shape) < inside for _ in range(5)]  # lesions as likely as the network says
    dice = [2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for truth in drawn]
    assert expected_dice(logits) == pytest.approx(np.mean(dice), abs=0.01)
    assert expected_dice(torch.full((1, 64, 64), 20.0)) > 0.99
    assert expected_dice(torch.full((3, 64, 64), -20.0)) == 1.0


def test_how_right_it_was_is_held_against_how_sure_it_was() -> None:
    as_expected = reliability_from([0.6], [0.6], [0.6, 0.9, 0.9])
    assert as_expected == pytest.approx(0.8)  # wrong where it said so: as sure as it is of the rest
    assert reliability_from([0.3], [0.9], [0.9] * 3) < 0.55
    assert 0.05 < reliability_from([0.0], [0.9], [0.9] * 3) < 0.3  # one frame tells little
    assert reliability_from([0.0] * 3, [0.9] * 3, [0.9] * 3) < 0.05
    assert reliability_from([0.95] * 3, [0.8] * 3, [0.8] * 3) == pytest.approx(0.95, abs=0.01)
    assert reliability_from([1.0] * 3, [0.5] * 3, [0.8] * 3) == 1.0
