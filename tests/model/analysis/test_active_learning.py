"""The frame to correct next: spread over the video, leaning to uncertainty, never a corrected one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vivim import Session
from vivim.analysis.active_learning import (
    END,
    FAR,
    MANY,
    UNCERTAIN,
    Queue,
    Suggestion,
    suggest_frames,
    uncertain_ends,
)


def next_frame(corrected: list[int], frames: int, uncertainty: np.ndarray | None = None) -> int | None:
    suggestion = Queue(corrected, frames, uncertainty).next()
    return None if suggestion is None else suggestion.frame


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
def test_corrections_never_repeat_and_end(frames: int, uncertainties: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    uncertainty = np.full(frames, np.nan)
    uncertainty[rng.integers(0, frames, uncertainties)] = rng.random(uncertainties)
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
    uncertainty = np.linspace(0, 1, 200)
    plain, leaning = next_frame([], 200), next_frame([], 200, uncertainty)
    assert leaning > plain
    assert next_frame([], 200, uncertainty[::-1]) < plain
    assert next_frame([], 200, np.full(200, np.nan)) == plain


def queue_of(corrected: list[int], frames: int, uncertainty: np.ndarray | None, n: int) -> list[Suggestion]:
    queue = Queue(corrected, frames, uncertainty)
    return [found for found in (queue.next() for _ in range(n)) if found is not None]


@given(st.integers(1, 400), st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 8))
def test_the_queue_is_what_one_after_the_other_would_be(frames: int, seed: int, known: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    uncertainty = np.where(rng.random(frames) < known, rng.random(frames), np.nan)
    corrected = np.flatnonzero(rng.random(frames) < 0.1).tolist()
    found = queue_of(corrected, frames, uncertainty, n)
    assert found == queue_of(corrected, frames, uncertainty, n)
    assert len(found) == min(n, frames - len(corrected))
    chosen = [suggestion.frame for suggestion in found]
    assert len(set(chosen)) == len(chosen) and not set(chosen) & set(corrected)
    assert all(0 <= suggestion.score <= 1 for suggestion in found)
    assert chosen[:1] == [next_frame(corrected, frames, uncertainty)][: len(chosen)]


@given(st.integers(40, 3000), st.integers(0, 2**31))
def test_it_covers_the_video_whatever_the_uncertainty(frames: int, seed: int) -> None:
    uncertainty = np.random.default_rng(seed).random(frames)
    chosen = sorted(s.frame for s in queue_of([], frames, uncertainty, 12))
    assert max(np.diff([0, *chosen, frames - 1])) <= frames / 3


def test_uncertainty_beside_a_corrected_frame_counts_for_little() -> None:
    uncertainty = np.zeros(100)
    uncertainty[30:41], uncertainty[80:86] = 1.0, 0.9
    first, second = (s.frame for s in queue_of([], 100, uncertainty, 2))
    assert 30 <= first <= 45  # drawn a little to the middle of the video
    assert 75 <= second <= 90


def test_one_uncertain_frame_counts_less_than_many() -> None:
    uncertainty = np.zeros(100)
    uncertainty[5], uncertainty[60:80] = 1.0, 0.9
    assert 60 <= queue_of([], 100, uncertainty, 1)[0].frame < 80


def test_the_reason_is_what_it_was_chosen_for() -> None:
    uncertainty = np.linspace(0, 0.1, 200)
    uncertainty[20:50] = 1.0
    first = queue_of([150], 200, uncertainty, 1)[0]
    assert 20 <= first.frame < 50
    assert first.reason == UNCERTAIN
    unknown = np.full(200, np.nan)
    assert queue_of([], 200, unknown, 1)[0].reason == MANY
    assert queue_of([20], 200, unknown, 1)[0].reason == FAR


def test_of_20_000_frames_none_beside_a_corrected_one_comes_first() -> None:
    corrected = list(range(0, 20_000, 400))
    uncertainty = np.random.default_rng(0).random(20_000)
    frames = [one.frame for one in queue_of(corrected, 20_000, uncertainty, 3)]
    assert len(set(frames)) == 3
    assert all(min(frame % 400, 400 - frame % 400) > 20 for frame in frames)


def test_of_a_session(session: Session, sample) -> None:
    first = suggest_frames(session, 1)[0].frame
    assert first in (5, 6)
    session.correct(first, sample.masks[first])
    queue = suggest_frames(session, 3)
    assert len({suggestion.frame for suggestion in queue} - {first}) == 3
    assert abs(queue[0].frame - first) > 2
    assert queue[0].frame not in {one.frame for one in suggest_frames(session, 3, skip=[queue[0].frame])}
    for t in range(len(session)):
        session.correct(t, sample.masks[t])
    assert suggest_frames(session) == []


def test_an_end_that_the_model_is_unsure_of_is_found_once(session: Session) -> None:
    empty, total = np.zeros(session.shape[1:], np.uint8), len(session)
    for t in range(total):
        session.propose(t, empty, "v1", uncertainty=1.0 if t == 1 else 0.1 + t / 1000)
    found = uncertain_ends(session)
    assert [(one.frame, one.reason) for one in found[:1]] == [(1, END)]
    assert 1 not in [one.frame for one in uncertain_ends(session, skip=[0])]
    session.correct(2, empty)
    assert 1 not in [one.frame for one in uncertain_ends(session)]


def test_an_end_that_the_model_is_sure_of_is_none(session: Session) -> None:
    assert uncertain_ends(session) == []
    middle = len(session) // 2
    for t in range(len(session)):
        empty = np.zeros(session.shape[1:], np.uint8)
        session.propose(t, empty, "v1", uncertainty=1 / (1 + abs(t - middle)))
    assert uncertain_ends(session) == []
