"""The frame to correct next: spread over the video, leaning to doubt, never one already dealt with, and at once."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vivim import Session
from vivim.suggest import next_frame, suggest_frame


def brute_force(corrected: list[int], weight: np.ndarray, scale: float) -> int:
    """The definition, frame by frame."""
    frames = len(weight)
    costs = {}
    for candidate in sorted(set(range(frames)) - set(corrected)):
        distances = [min(abs(t - c) for c in [*corrected, candidate]) for t in range(frames)]
        costs[candidate] = sum(w * d / (d + scale) for w, d in zip(weight, distances, strict=True))
    return min(costs, key=costs.__getitem__)


@given(st.integers(1, 60), st.data())
def test_it_is_the_best_frame_by_definition(frames: int, data: st.DataObject) -> None:
    corrected = data.draw(st.lists(st.integers(0, frames - 1), unique=True, max_size=frames - 1))
    found = next_frame(corrected, frames)
    scale = max(4.0, frames / 8)
    ones = np.ones(frames)
    assert found is not None and found not in corrected
    best = brute_force(corrected, ones, scale)

    def cost(candidate: int) -> float:
        d = np.abs(np.arange(frames)[:, None] - np.array([*corrected, candidate])).min(1)
        return float((d / (d + scale)).sum())

    assert cost(found) == pytest.approx(cost(best))


@given(st.integers(1, 3000), st.integers(0, 40), st.integers(0, 2**31))
def test_corrections_never_repeat_and_end(frames: int, doubts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    uncertainty = np.full(frames, np.nan)
    uncertainty[rng.integers(0, frames, doubts)] = rng.random(doubts)
    corrected: list[int] = []
    for _ in range(min(frames, 12)):
        found = next_frame(corrected, frames, uncertainty)
        assert found is not None and 0 <= found < frames and found not in corrected
        corrected.append(found)
    assert (next_frame(list(range(frames)), frames, uncertainty)) is None


def test_the_first_is_near_the_middle() -> None:
    for frames in (1, 2, 61, 5000):
        assert abs(next_frame([], frames) - (frames - 1) / 2) <= max(1, frames // 100)


def test_a_few_spread_over_the_whole_video() -> None:
    corrected: list[int] = []
    for _ in range(7):
        corrected.append(next_frame(corrected, 400))
    gaps = np.diff(sorted([0, *corrected, 399]))
    assert gaps.max() <= 120


def test_it_leans_to_where_the_model_is_unsure() -> None:
    doubt = np.linspace(0, 1, 200)
    plain, leaning = next_frame([], 200), next_frame([], 200, doubt)
    assert leaning > plain
    assert next_frame([], 200, doubt[::-1]) < plain
    assert next_frame([], 200, np.full(200, np.nan)) == plain


def test_20_000_frames_at_once() -> None:
    corrected = list(range(0, 20_000, 400))
    uncertainty = np.random.default_rng(0).random(20_000)
    next_frame(corrected, 20_000, uncertainty)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        next_frame(corrected, 20_000, uncertainty)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


def test_of_a_session(session: Session, sample) -> None:
    first = suggest_frame(session)
    assert first in (5, 6)
    session.correct(first, sample.masks[first])
    second = suggest_frame(session)
    assert abs(second - first) > 2
    for t in range(len(session)):
        session.correct(t, sample.masks[t])
    assert suggest_frame(session) is None
