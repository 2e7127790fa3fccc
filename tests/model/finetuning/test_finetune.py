"""Fine-tuning: own process, held-out scores, a new version each time, nothing lost when stopped or killed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vivim import Session, Vivim, finetune, load_model, propose
from vivim.errors import FinetuneError
from vivim.finetuning.cross_validation import blended_scores, reliability_frames, split_folds
from vivim.finetuning.events import Finished, HeldOut, Preparing, Scored, Step, from_line, to_line
from vivim.finetuning.feature_store import FeatureStore
from vivim.finetuning.job import Trained, clearly_better, judge, run
from vivim.finetuning.samples import Source, Window, corrected_frames, encode, variants
from vivim.finetuning.worker_process import WorkerProcess
from vivim.inference.feature_cache import digest_of_weights
from vivim.inference.model_reliability import MAX_JUDGED
from vivim.registry.registry import list_models


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lengths of training, both short."""
    monkeypatch.setattr("vivim.finetuning.training_loop.STEP_CHOICES", (1, 2))


def correct(session: Session, sample, frames: tuple[int, ...]) -> None:
    for t in frames:
        session.correct(t, sample.masks[t])


def weights(model: Vivim) -> list[torch.Tensor]:
    return [v.clone() for v in model.state_dict().values()]


def test_the_whole_of_it_in_its_own_process(session: Session, sample, tiny_model: Vivim) -> None:
    correct(session, sample, (2, 6, 10))
    before = weights(tiny_model)
    events = list(finetune([session], tiny_model, name="mine"))
    kinds = [type(e) for e in events]
    assert kinds[0] is Preparing and kinds[-1] is Finished
    assert kinds.count(Scored) == 1 and kinds.count(Step) > 30
    scored, finished = next(e for e in events if isinstance(e, Scored)), events[-1]
    assert scored.frames == 3
    assert {row[1] for row in scored.per_frame} == {2, 6, 10}
    assert scored.before == pytest.approx(np.mean([row[2] for row in scored.per_frame]))
    assert finished.promoted == (scored.after > scored.before)
    assert finished.promoted, "a random decoder must get better on a bright disc"
    for now, then in zip(weights(tiny_model), before, strict=True):
        assert torch.equal(now, then)
    tuned = load_model("mine")
    assert tuned.version == finished.version
    assert tuned.provenance["parent"] == "tiny"
    assert tuned.provenance["frames"] == 3
    info = next(m for m in list_models() if m.name == "mine")
    assert (info.parent, info.frames, info.sessions) == ("tiny", 3, 1)
    assert not torch.equal(tuned.decoder.fuse.weight, tiny_model.decoder.fuse.weight)


@pytest.mark.parametrize(("logit", "kept"), [(5.0, True), (-5.0, False)])
def test_presence_that_overlooks_what_was_taught_is_left_out(
    session: Session, sample, tiny_model: Vivim, few_steps: None, logit: float, kept: bool
) -> None:
    model = Vivim(replace(tiny_model.config, presence=True)).eval()
    assert model.presence is not None
    torch.nn.init.zeros_(model.presence.classify.weight)
    torch.nn.init.constant_(model.presence.classify.bias, logit)
    correct(session, sample, (1, 8))
    (tuned,) = (e.model for e in run([session], model) if isinstance(e, Trained))
    assert (tuned.presence is not None, tuned.config.presence) == (kept, kept)


def test_a_correction_counts_more_than_presence(session: Session, sample, tiny_model: Vivim) -> None:
    model = Vivim(replace(tiny_model.config, presence=True)).eval()
    assert model.presence is not None
    torch.nn.init.constant_(model.presence.classify.bias, -50.0)
    torch.nn.init.constant_(model.decoder.classify.bias, 50.0)
    list(propose(session, model))
    assert not any(session.masks[t].any() for t in range(len(session)))
    correct(session, sample, (4,))
    list(propose(session, model))
    assert all(session.masks[t].any() for t in range(len(session)))


def test_the_loss_falls_and_the_encoder_stays(session: Session, sample, tiny_model: Vivim) -> None:
    correct(session, sample, (1, 8))
    events = list(run([session], tiny_model))
    losses = [e.loss for e in events if isinstance(e, Step) and e.fold == 0]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    tuned = events[-1].model
    for (name, now), then in zip(
        tuned.encoder.state_dict().items(), tiny_model.encoder.state_dict().values(), strict=True
    ):
        assert torch.equal(now, then), name
    assert torch.equal(tuned.decoder.norm.running_mean, tiny_model.decoder.norm.running_mean)


def test_scope_all_moves_the_encoder_too(session: Session, sample, tiny_model: Vivim, few_steps) -> None:
    correct(session, sample, (1, 8))
    *_, last = run([session], tiny_model, scope="all")
    assert isinstance(last, Trained)
    first = next(iter(tiny_model.encoder.parameters()))
    assert not torch.equal(next(iter(last.model.encoder.parameters())), first)


def test_scope_last_stage_moves_that_and_the_decoder_alone(
    session: Session, sample, tiny_model: Vivim, few_steps
) -> None:
    correct(session, sample, (1, 8))
    events = list(run([session], tiny_model, scope="last-stage"))
    tuned, encoder = events[-1].model, tiny_model.encoder
    assert digest_of_weights(*tuned.encoder.mit[:3]) == digest_of_weights(*encoder.mit[:3])
    assert digest_of_weights(tuned.encoder.mit[3]) != digest_of_weights(encoder.mit[3])
    assert digest_of_weights(tuned.decoder) != digest_of_weights(tiny_model.decoder)
    assert [e.fold for e in events if isinstance(e, HeldOut)] == [1, 1, 2, 2]
    assert all(0 <= e.dice <= 1 for e in events if isinstance(e, HeldOut))


def test_encoded_frames_are_used_again_and_the_result_is_the_same(
    session: Session, sample, tiny_model: Vivim, tmp_path, few_steps
) -> None:
    correct(session, sample, (1, 8))
    first, again = FeatureStore(tmp_path / "kept"), FeatureStore(tmp_path / "kept")
    *_, fresh = run([session], tiny_model, cache=first)
    *_, reused = run([session], tiny_model, cache=again)
    kept = list((tmp_path / "kept").iterdir())
    assert first.hits == 0 and again.hits == len(kept) > 0
    assert digest_of_weights(fresh.model) == digest_of_weights(reused.model)
    kept[0].write_bytes(b"cut short")
    assert again.get(kept[0].stem) is None
    FeatureStore(tmp_path / "kept", limit=0).trim()
    assert not list((tmp_path / "kept").iterdir())


def test_one_corrected_frame_cannot_be_judged_and_is_not_promoted(
    session: Session, sample, tiny_model: Vivim
) -> None:
    correct(session, sample, (4,))
    events = list(finetune([session], tiny_model, in_process=True))
    finished = events[-1]
    assert finished.before is None and finished.after is None and not finished.promoted


def test_no_corrected_frame_is_one_clear_sentence(session: Session, tiny_model: Vivim) -> None:
    with pytest.raises(FinetuneError, match="Correct or accept at least one frame"):
        next(finetune([session], tiny_model))


def test_unknown_scope_reaches_the_person(session: Session, sample, tiny_model: Vivim) -> None:
    correct(session, sample, (4,))
    with pytest.raises(FinetuneError, match="Unknown scope 'head'"):
        list(finetune([session], tiny_model, scope="head"))


def test_closing_leaves_no_process_and_no_model(
    session: Session, sample, tiny_model: Vivim, begun: list[WorkerProcess]
) -> None:
    correct(session, sample, (2, 6))
    names = [m.name for m in list_models()]
    events = finetune([session], tiny_model)
    assert isinstance(next(events), Preparing)
    events.close()
    assert [m.name for m in list_models()] == names
    assert len(begun) == 1 and not begun[0].lives


def test_a_killed_worker_is_reported_and_changes_nothing(
    session: Session, sample, tiny_model: Vivim, begun: list[WorkerProcess]
) -> None:
    correct(session, sample, (2, 6))
    names = [m.name for m in list_models()]
    events = finetune([session], tiny_model)
    next(events)
    begun[0].process.kill()
    with pytest.raises(FinetuneError, match="stopped unexpectedly"):
        list(events)
    assert [m.name for m in list_models()] == names


def test_a_corrected_frame_is_never_guided_by_its_own_mask(
    session: Session, sample, tiny_model: Vivim
) -> None:
    correct(session, sample, (2, 6))
    source = Source([session], tiny_model, torch.device("cpu"))
    for _, group in itertools.groupby(variants([session], [True]), lambda variant: variant.frame):
        found = source.windows(list(group))
        assert {window.guide is None for window in found} == {True, False}
        for window in found:
            if window.guide is not None:
                assert not (window.guide[0, window.position, 1] == 1).any()
    features = encode(tiny_model, window).features
    assert [f.shape[0] for f in features] == [1, 1, 1, 1]


def test_held_out_blocks_are_stretches_of_time_or_whole_videos() -> None:
    one = [(0, t) for t in (1, 5, 9, 30, 31, 60)]
    folds = split_folds(one)
    assert set().union(*folds) == set(one) and sum(map(len, folds)) == len(one)
    assert all(max(f)[1] < min(g)[1] for f, g in itertools.pairwise(folds))
    assert {(0, 1), (0, 5)} in split_folds([(0, 1), (0, 5), (1, 2)])


def test_the_better_number_of_steps_is_chosen() -> None:
    before, after = {(0, 3): 0.5, (0, 9): 0.7}, {steps: {(0, 3): 0.6, (0, 9): 0.7} for steps in (10, 20, 40)}
    after[20][0, 3] = 0.8
    steps, scored = judge(before, after)
    assert steps == 20
    assert (scored.before, scored.after) == (pytest.approx(0.6), pytest.approx(0.75))
    assert scored.per_frame == ((0, 3, 0.5, 0.8), (0, 9, 0.7, 0.7))


def test_a_frame_is_scored_with_guidance_as_far_as_it_is_trusted() -> None:
    """Guided the network is wrong, alone it is right, and the propagated mask says nothing."""
    target = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    target[..., 2:6, 2:6] = 1
    right = target.float() * 2 - 1
    nothing, known = torch.zeros_like(right), {(0, 4): 1.0}

    def judged(confidence: float):
        for how_far, logits in ((None, right), (confidence, -right)):
            yield Window(0, 4, nothing, None, how_far, 0, target, True), logits, nothing

    assert blended_scores(judged(0.3), known) == {(0, 4): 1.0}
    assert blended_scores(judged(0.7), known) == {(0, 4): 0.0}
    alone = [(Window(0, 4, nothing, None, None, 0, target, True), right, nothing)]
    assert blended_scores(alone, known) == {(0, 4): 1.0}
    propagated = [(Window(0, 4, nothing, nothing, 1.0, 0, target, True), -right, right)]
    assert blended_scores([*propagated, *alone], known) == {
        (0, 4): 1.0
    }  # the propagated mask outweighs the network
    trusted = [(Window(0, 4, nothing, nothing, 0.5, 0, target, True), -8 * right, right)]
    wrong = [(Window(0, 4, nothing, None, None, 0, target, True), -8 * right, nothing)]
    assert blended_scores([*trusted, *wrong], known) == {(0, 4): 0.0}
    assert blended_scores([*trusted, *wrong], {(0, 4): 0.1}) == {
        (0, 4): 1.0
    }  # a network that does not know the video


def test_how_well_a_network_knows_a_video_is_told_by_frames_it_is_not_judged_on() -> None:
    known = {(0, t) for t in (1, 5, 9)} | {(1, 2)}
    assert reliability_frames({(0, 5)}, known) == {(0, 5): [(0, 1), (0, 9)]}
    assert reliability_frames(known, known) == {
        (0, 1): [(0, 5), (0, 9)],
        (0, 5): [(0, 1), (0, 9)],
        (0, 9): [(0, 1), (0, 5)],
        (1, 2): [],
    }
    many = {(0, t) for t in range(40)}
    assert len(reliability_frames({(0, 0)}, many)[0, 0]) == MAX_JUDGED


@pytest.mark.parametrize(
    ("gains", "better"),
    [([], False), ([0.1, 0.1], True), ([0.05, 0.13], True), ([-0.005, 0.077], False), ([-0.1, -0.1, -0.1], False),
     ([0.0, 0.0], False), ([0.02, -0.01, 0.03, 0.02], True), ([0.06, -0.02, -0.02], False)],
)  # fmt: skip
def test_clearly_better_is_more_than_the_standard_error(gains, better) -> None:
    rows = tuple((0, t, 0.5, 0.5 + gain) for t, gain in enumerate(gains))
    assert clearly_better(Scored(None, None, len(rows), rows)) is better


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1)), max_size=5
    ),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_events_survive_a_line_of_json(rows, score) -> None:
    event = Scored(score, score, len(rows), tuple(rows))
    assert from_line(to_line(event)) == event
    assert json.loads(to_line(event))["kind"] == "scored"


def test_a_line_that_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="Not an event"):
        from_line('{"kind": "gossip"}')


def test_corrected_and_accepted_frames_count(session: Session, sample, tiny_model: Vivim) -> None:
    session.propose(5, sample.masks[5], "tiny")
    session.accept(5)
    session.correct(7, sample.masks[7])
    session.propose(9, sample.masks[9], "tiny")
    assert corrected_frames([session]) == [(0, 5), (0, 7)]


def test_it_can_be_called_whatever_was_imported_before(session: Session, tiny_model: Vivim) -> None:
    import vivim
    import vivim.finetuning.job

    for call in (vivim.finetune, vivim.api.finetune):
        with pytest.raises(FinetuneError, match="at least one frame"):
            next(call([session], tiny_model))
