"""Agreement equals what other programs compute, and says plainly what counts."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import vivim
from phantom_readers import EMPTY, SPACING, drawn_by
from vivim import Session, SessionError
from vivim.review.agreement import area_difference, pooled
from vivim.review.kappa import kappa

NAMES = ("a", "b", "c")
PAIRS = list(itertools.combinations(NAMES, 2))


@pytest.fixture
def found(readers: dict[str, Session]) -> vivim.Agreement:
    return vivim.agreement(list(readers.values()), readers=NAMES, clip="scan")


def test_overlap_and_areas_are_those_of_simpleitk(found: vivim.Agreement, truth: np.ndarray) -> None:
    sitk = pytest.importorskip("SimpleITK")
    masks, compared = drawn_by(truth), 0
    for row in found.frames:
        one, other = (masks[reader][row.frame] for reader in row.readers)
        assert row.areas_px == (one.sum(), other.sum())
        assert row.areas_mm2 == pytest.approx([area * SPACING[0] * SPACING[1] for area in row.areas_px])
        if one.any() and other.any():
            overlap = sitk.LabelOverlapMeasuresImageFilter()
            overlap.Execute(*map(sitk.GetImageFromArray, (one, other)))
            assert row.dice == pytest.approx(overlap.GetDiceCoefficient(1))
            assert row.jaccard == pytest.approx(overlap.GetJaccardCoefficient(1))
            compared += 1
    assert compared == 3 * 5


def surface_distances(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Distance of each point of one outline to the other, pair by pair, in float64."""

    def points(mask: np.ndarray) -> np.ndarray:
        inside = np.pad(mask, 1)
        around = [np.roll(inside, step, axis) for step in (1, -1) for axis in (0, 1)]
        edge = inside & ~np.logical_and.reduce(around)
        return (np.argwhere(edge) - 1) * np.asarray(spacing, float)

    apart = points(one)[:, None] - points(other)[None]
    return np.sqrt((apart**2).sum(-1)).min(1)


def test_distances_are_those_between_all_points(found: vivim.Agreement, truth: np.ndarray) -> None:
    masks, compared = {name: drawn > 0 for name, drawn in drawn_by(truth).items()}, 0
    for row in found.frames:
        one, other = (masks[reader][row.frame] for reader in row.readers)
        if one.any() and other.any():
            for spacing, value in (((1.0, 1.0), row.hd95_px), (SPACING, row.hd95_mm)):
                both = [surface_distances(*pair, spacing) for pair in ((one, other), (other, one))]
                assert value == pytest.approx(max(np.percentile(away, 95) for away in both), rel=1e-5)
            compared += 1
    assert compared == 3 * 5


def test_presence_is_kappa_of_scikit_learn(found: vivim.Agreement, truth: np.ndarray) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    masks = drawn_by(truth)
    present = {name: masks[name][:-1].any(axis=(1, 2)) for name in NAMES}
    for pair, scores in zip(PAIRS, found.pairs, strict=True):
        one, other = (present[name] for name in pair)
        assert scores.readers == pair and scores.frames == len(truth) - 1
        assert scores.kappa == pytest.approx(metrics.cohen_kappa_score(one, other))
        assert scores.presence_agreement == pytest.approx((one == other).mean())
        assert scores.both_empty == (~one & ~other).sum() and scores.one_empty == (one != other).sum()


def fleiss(present: np.ndarray) -> float:
    """Fleiss' kappa as his paper of 1971 writes it: counts of each answer, row by row."""
    frames, readers = present.shape
    counts = [[int(row.sum()), readers - int(row.sum())] for row in present]
    agreed = [sum(n * (n - 1) for n in row) / (readers * (readers - 1)) for row in counts]
    shares = [sum(row[k] for row in counts) / (frames * readers) for k in (0, 1)]
    by_chance = sum(share**2 for share in shares)
    return (sum(agreed) / frames - by_chance) / (1 - by_chance)


def test_kappa_of_three_readers_is_that_of_the_paper(found: vivim.Agreement, truth: np.ndarray) -> None:
    masks = drawn_by(truth)
    present = np.stack([masks[name][:-1].any(axis=(1, 2)) for name in NAMES], axis=1)
    assert found.overall.kappa == pytest.approx(fleiss(present))
    rng = np.random.default_rng(0)
    for readers in (3, 4, 7):
        answers = rng.random((50, readers)) < rng.random((50, 1))
        assert kappa(answers) == pytest.approx(fleiss(answers))


def test_kappa_is_not_defined_where_all_always_say_the_same() -> None:
    assert np.isnan(kappa(np.ones((5, 2), bool))) and np.isnan(kappa(np.zeros((5, 3), bool)))
    assert np.isnan(kappa(np.zeros((0, 2), bool)))


def test_frames_that_nobody_drew_in_count_for_presence_alone(found: vivim.Agreement) -> None:
    empty = [row for row in found.frames if row.frame in EMPTY and row.readers == ("a", "c")]
    assert len(empty) == len(EMPTY) and all(
        np.isnan([row.dice, row.jaccard, row.hd95_px]).all() for row in empty
    )
    pair = found.scores(("a", "c"))
    drawn = [row.dice for row in found.frames if row.readers == ("a", "c") and any(row.areas_px)]
    assert pair.dice == pytest.approx(np.mean(drawn)) and len(drawn) == pair.frames - len(EMPTY)


def test_a_lesion_that_one_alone_drew_counts_as_worst(found: vivim.Agreement) -> None:
    row = next(row for row in found.frames if row.frame == 1 and row.readers == ("a", "b"))
    assert (row.dice, row.jaccard) == (0.0, 0.0)
    assert row.hd95_px == pytest.approx(np.hypot(96, 112))
    assert row.hd95_mm == pytest.approx(np.hypot(96 * SPACING[0], 112 * SPACING[1]))


def test_a_frame_that_only_a_model_proposed_does_not_count(found: vivim.Agreement, truth: np.ndarray) -> None:
    assert {row.frame for row in found.frames} == set(range(len(truth) - 1))
    assert found.not_vouched == {"a": 1, "b": 1, "c": 1}


def test_an_ignored_frame_counts_for_nobody_who_ignored_it(readers: dict[str, Session]) -> None:
    readers["a"].tag(4, "ignore")
    found = vivim.agreement(list(readers.values()), readers=NAMES)
    assert {row.readers for row in found.frames if row.frame == 4} == {("b", "c")}
    assert found.ignored == 1
    assert [scores.frames for scores in found.pairs] == [6, 6, 7] and found.overall.frames == 6


def test_classes_are_compared_by_themselves(truth: np.ndarray, tmp_path: Path) -> None:
    masks = drawn_by(truth)
    with (
        Session.open(tmp_path / "scan.nii.gz", folder=tmp_path / "one.vivim") as one,
        Session.open(tmp_path / "scan.nii.gz", folder=tmp_path / "two.vivim") as two,
    ):
        one.name_classes(["cyst", "tumour"])
        one.correct(3, masks["a"][3] * 2)
        two.correct(3, masks["b"][3] * 2)
        one.correct(4, masks["a"][4])
        two.correct(4, masks["b"][4] * 2)
        found = vivim.agreement([one, two])
    assert found.readers == ("reader 1", "reader 2") and found.classes == ("cyst", "tumour")
    same = vivim.dice(masks["a"][3], masks["b"][3])
    assert found.scores(found.readers, 1).dice == 0.0
    assert found.scores(found.readers, 2).dice == pytest.approx((same + 0) / 2)
    assert found.overall.dice == pytest.approx((same + 0 + 0) / 3)
    assert (
        found.overall.presence_agreement == 1.0 and found.scores(found.readers, 1).presence_agreement == 0.5
    )
    assert len(found.as_dict()["by_class"]) == 2


def test_clips_pool_to_the_mean_of_their_frames(found: vivim.Agreement) -> None:
    both = pooled([found, vivim.Agreement(("a", "b"), found.classes, (), 0, {"a": 2, "b": 0})])
    assert both.overall == found.overall and both.not_vouched == {"a": 3, "b": 1, "c": 1}


def test_clips_pool_where_one_lacks_the_first_reader(
    found: vivim.Agreement, readers: dict[str, Session]
) -> None:
    two = vivim.agreement([readers["b"], readers["c"]], clip="two")
    together = pooled([two, found])
    assert together.readers == ("b", "c", "a")
    for pair in PAIRS[:2]:
        assert together.scores(pair).frames == found.scores(pair).frames > 0
        assert together.scores(pair).dice == pytest.approx(found.scores(pair).dice)
        turned, own = area_difference(together, pair[::-1]), area_difference(found, pair)
        assert turned is not None and own is not None and turned.bias == pytest.approx(-own.bias)


def test_readers_are_asked_for_in_any_order(found: vivim.Agreement) -> None:
    assert found.scores(("c", "a")) == found.scores(("a", "c"))
    with pytest.raises(ValueError, match=r"There is no reader z\. Readers are a, b, c"):
        found.scores(("a", "z"))


def test_limits_of_agreement_hold_the_differences(found: vivim.Agreement) -> None:
    areas = area_difference(found, ("a", "b"))
    assert areas is not None and areas.unit == "mm2" and areas.bias < 0
    rows = [row for row in found.frames if row.readers == ("a", "b") and any(row.areas_px)]
    differences = [row.areas_mm2[0] - row.areas_mm2[1] for row in rows]
    assert areas.bias == pytest.approx(sum(differences) / len(differences))
    spread = 1.96 * np.sqrt(sum((d - areas.bias) ** 2 for d in differences) / (len(differences) - 1))
    assert areas.limits == pytest.approx((areas.bias - spread, areas.bias + spread))


def test_the_result_is_json(found: vivim.Agreement) -> None:
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert json.loads(text)["overall"]["dice"] == pytest.approx(found.overall.dice, abs=1e-6)


def test_sessions_of_other_videos_are_refused(readers: dict[str, Session], sample) -> None:
    with Session.open(sample.video) as other, pytest.raises(SessionError, match="different videos"):
        vivim.agreement([readers["a"], other])


def test_classes_of_other_names_are_refused(readers: dict[str, Session]) -> None:
    readers["a"].name_classes(["cyst"])
    readers["b"].name_classes(["tumour"])
    with pytest.raises(SessionError, match=r"cyst, but tumour in .*scan.*b\. Give"):
        vivim.agreement([readers["a"], readers["b"]])


@pytest.mark.parametrize(("count", "names"), [(1, None), (2, ["x"]), (2, ["x", "x"])])
def test_readers_are_at_least_two_with_names_that_differ(
    readers: dict[str, Session], count: int, names: list[str] | None
) -> None:
    with pytest.raises(ValueError, match=r"at least two|differ"):
        vivim.agreement(list(readers.values())[:count], readers=names)
