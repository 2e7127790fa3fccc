"""Consensus of readers: STAPLE and majority, proposed to the one who decides, and in which order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import vivim
from phantom_readers import drawn_by, open_reader
from vivim import Session, SessionError, VivimError
from vivim.cli import agree
from vivim.imaging.metrics import label_dice
from vivim.review.consensus import METHODS, consensus_frames, independent, majority, propose_consensus, staple


def mean_dice(masks: np.ndarray, truth: np.ndarray) -> float:
    return float(
        np.mean([vivim.dice(*pair) for pair in zip(masks[:-1], truth[:-1], strict=True) if pair[1].any()])
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_consensus_is_closer_to_the_truth_than_each_reader(
    readers: dict[str, Session], truth: np.ndarray, method: str
) -> None:
    if method == "staple":
        pytest.importorskip("SimpleITK")
    together = vivim.consensus(list(readers.values()), method)
    assert together.shape == truth.shape and together.dtype == np.uint8
    own = [mean_dice(masks, truth) for masks in drawn_by(truth).values()]
    assert mean_dice(together, truth) > max(own)
    assert not together[-1].any(), "only a model has proposed there"


def expectation_maximisation(masks: list[np.ndarray], rounds: int = 200) -> np.ndarray:
    """STAPLE as the paper of 2004 writes it, in float64, without a spatial prior."""
    drawn = np.stack([mask.ravel() for mask in masks]).astype(float)
    prior = drawn.mean()
    p = q = np.full(len(masks), 0.99999)
    for _ in range(rounds):
        a = prior * np.prod(np.where(drawn, p[:, None], 1 - p[:, None]), axis=0)
        b = (1 - prior) * np.prod(np.where(drawn, 1 - q[:, None], q[:, None]), axis=0)
        weight = a / (a + b)
        p, q = drawn @ weight / weight.sum(), (1 - drawn) @ (1 - weight) / (1 - weight).sum()
    return weight.reshape(masks[0].shape)


def test_staple_is_that_of_the_paper(truth: np.ndarray) -> None:
    pytest.importorskip("SimpleITK")
    for t in (3, 5):
        masks = [drawn[t] for drawn in drawn_by(truth).values()]
        np.testing.assert_array_equal(staple(masks), expectation_maximisation(masks) > 0.5)


@pytest.mark.parametrize("fill", [0, 1])
def test_staple_of_equal_masks_is_that_mask(fill: int) -> None:
    pytest.importorskip("SimpleITK")
    mask = np.full((20, 20), fill, np.uint8)
    np.testing.assert_array_equal(staple([mask, mask.copy()]), mask)


def test_majority_is_more_than_half_of_each_class() -> None:
    masks = [
        np.array([[1, 1, 2, 0]], np.uint8),
        np.array([[1, 2, 2, 1]], np.uint8),
        np.array([[0, 3, 2, 0]], np.uint8),
    ]
    assert majority(masks).tolist() == [[1, 0, 2, 0]]
    assert majority(masks[:2]).tolist() == [[1, 0, 2, 0]], "of two, both"


def test_staple_keeps_classes_apart(truth: np.ndarray) -> None:
    pytest.importorskip("SimpleITK")
    ones = [drawn[4] for drawn in drawn_by(truth).values()]
    twos = [np.flip(mask, 0) * np.uint8(2) * (mask == 0) for mask in ones]
    both = staple([np.maximum(a, b) for a, b in zip(ones, twos, strict=True)])
    assert set(np.unique(both)) == {0, 1, 2}
    assert label_dice(both, np.maximum(staple(ones), 0)) > 0.4 and vivim.dice(both == 1, staple(ones)) > 0.95


def test_the_proposals_are_never_a_persons(
    readers: dict[str, Session], tmp_path: Path, truth: np.ndarray
) -> None:
    with open_reader(tmp_path / "scan.nii.gz", "senior") as senior:
        drawn = np.zeros(truth.shape[1:], np.uint8)
        senior.correct(3, drawn)
        done = propose_consensus(list(readers.values()), senior, "majority", list(readers))
        frames = [one.frame for one in done]
        assert sorted(frames) == [0, 1, 2, 4, 5, 6] and senior.frames_with("proposed") == sorted(frames)
        assert senior.status(3) == "corrected" and not senior.masks[3].any()
        kinds = {(entry.kind, entry.author) for entry in senior.entries() if entry.frame != 3}
        assert kinds == {("model", "consensus of a, b, c")}
        np.testing.assert_array_equal(senior.masks[5], majority([s.masks[5] for s in readers.values()]))
        assert senior.vouched_frames() == [3]
        assert list(independent({**readers, "senior": senior})) == ["a", "b", "c"]


def test_frames_come_in_the_order_of_disagreement(readers: dict[str, Session], tmp_path: Path) -> None:
    with open_reader(tmp_path / "scan.nii.gz", "senior") as senior:
        done = propose_consensus(list(readers.values()), senior, "majority")
        assert [one.priority for one in done] == sorted((one.priority for one in done), reverse=True)
        assert done[0].frame == 1, "one alone saw a lesion there"
        assert done[0].disagreement == pytest.approx(2 / 3) and done[-1].disagreement == 0.0
        kept = senior.uncertainty[[one.frame for one in done]]
        np.testing.assert_allclose(kept, [one.priority for one in done], rtol=1e-6)


def test_uncertainty_of_the_model_raises_the_priority(readers: dict[str, Session]) -> None:
    before = {one.frame: one for one in consensus_frames(list(readers.values()), "majority")}
    first = readers["a"]
    first.reset(4)
    first.propose(4, first.masks[5], "model 1", uncertainty=0.5)
    first.accept(4)
    after = {one.frame: one for one in consensus_frames(list(readers.values()), "majority")}
    assert before[5].priority == before[5].disagreement
    assert after[4].priority == pytest.approx(after[4].disagreement * 1.5)


def test_a_readers_own_session_takes_no_consensus(readers: dict[str, Session]) -> None:
    with pytest.raises(SessionError, match="a session of its own"):
        propose_consensus(list(readers.values()), readers["a"], "majority")


def test_an_unknown_method_names_those_there_are(readers: dict[str, Session]) -> None:
    with pytest.raises(ValueError, match="staple, majority"):
        vivim.consensus(list(readers.values()), "vote")


def test_without_simpleitk_the_extra_is_named(
    readers: dict[str, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(VivimError, match=r"napari-vivim\[review\]"):
        vivim.consensus(list(readers.values()))
    assert vivim.consensus(list(readers.values()), "majority").any()


def test_the_command_line_knows_the_same_methods() -> None:
    assert agree.METHODS == METHODS
