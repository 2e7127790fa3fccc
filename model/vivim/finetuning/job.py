"""Run a fine-tune in this process: encode, judge on held-out frames, train."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from vivim.devices import choose_device
from vivim.errors import FinetuneError
from vivim.finetuning.cross_validation import held_out_scores, mean_of, split_folds
from vivim.finetuning.events import HeldOut, Preparing, Scored, Step, Trained
from vivim.finetuning.feature_store import FeatureStore
from vivim.finetuning.samples import Sample, Source, check_labels, corrected_frames, encoded, variants
from vivim.finetuning.trainables import DecoderTrainable, NetworkTrainable, Trainable
from vivim.finetuning.training_loop import Scores, step_choices
from vivim.network import Vivim
from vivim.registry.info import NEW_CLASSES, session_key
from vivim.session import Session
from vivim.utils.system import check_fits

SCOPES = ("decoder", "last-stage", "all")


def run(
    sessions: Sequence[Session],
    model: Vivim,
    scope: str = "decoder",
    device: str = "auto",
    seed: int = 0,
    cache: FeatureStore | None = None,
) -> Iterator[Preparing | Step | HeldOut | Scored | Trained]:
    """Fine-tune a copy of `model` on the corrected and accepted frames of `sessions`. `model` itself is never changed.

    The held-out rounds train the same `scope`, so that their score is that of the result. Encoded frames are taken from
    `cache` and kept there, if one is given. Progress comes first, then `Scored`, then `Trained`.
    """
    if scope not in SCOPES:
        raise FinetuneError(f"Unknown scope {scope!r}. Choose one of {', '.join(SCOPES)}.")
    target = choose_device(device)
    keys = corrected_frames(sessions)
    if not keys:
        raise FinetuneError("No corrected frame to learn from. Correct or accept at least one frame first.")
    check_labels(sessions, model)
    tuned = copy.deepcopy(model).to(target).eval()
    overlooks = False
    source = Source(sessions, tuned, target)
    chosen = list(variants(sessions, tuned.config.guided))
    trainable: Trainable = NetworkTrainable(tuned, source, chosen)
    if scope != "all":
        samples: list[Sample] = []
        ready: set[tuple[int, int]] = set()
        for sample in encoded(tuned, source, chosen, cache):
            if not samples:
                check_fits(sample.nbytes * len(chosen), f"learning from {len(keys)} frames")
            samples.append(sample)
            ready.add((sample.session, sample.frame))
            yield Preparing(len(ready), len(keys))
        if cache is not None:
            cache.trim()
        overlooks = _overlooks(tuned, samples, target)
        trainable = DecoderTrainable(tuned, samples, target, last_stage=scope == "last-stage")
    before = trainable.score(set(keys))
    choices = step_choices(model)
    steps, scored = max(choices), Scored(None, None, len(keys), ())
    rounds = 1 + (len(split_folds(keys)) if len(keys) > 1 else 0)
    if len(keys) > 1:
        for item in held_out_scores(trainable, seed, choices):
            if isinstance(item, dict):
                steps, scored = judge(before, item)
            else:
                yield replace(item, rounds=rounds) if isinstance(item, Step) else item
    yield scored
    for step in trainable.fit(set(keys), steps, seed, 0):
        yield replace(step, rounds=rounds)
    if overlooks or scope == "all":  # it would keep the masks of what it was taught from being proposed
        tuned.presence, tuned.config = None, replace(tuned.config, presence=False)
    learned_from = sorted({*model.provenance.get("learned_from", []), *map(session_key, sessions)})
    tuned.provenance = {**tuned.provenance, "learned_from": learned_from, NEW_CLASSES: False}
    yield Trained(tuned.cpu().eval(), clearly_better(scored))


@torch.inference_mode()
def _overlooks(model: Vivim, samples: Sequence[Sample], device: torch.device) -> bool:
    """Whether the model sees no lesion, without guidance, in some frame in which a person marked one."""
    if model.presence is None:
        return False
    marked = [s for s in samples if s.in_use and s.confidence is None and s.target.any()]
    return any(model.presence([f.to(device).float() for f in s.features]).item() < 0 for s in marked)


def clearly_better(scored: Scored) -> bool:
    """Whether held-out frames got better by more than the standard error of their mean gain.

    A smaller gain on a few frames says nothing about the others; docs/measurements.md has the figures.
    """
    gains = np.array([after - before for *_, before, after in scored.per_frame])
    return len(gains) > 1 and bool(gains.mean() > max(0.0, float(gains.std(ddof=1)) / len(gains) ** 0.5))


def judge(before: Scores, after: dict[int, Scores]) -> tuple[int, Scored]:
    """Choose the number of steps with the best held-out Dice, and return it with the scores before and after."""
    steps = max(after, key=lambda count: mean_of(after[count]))
    now = after[steps]
    rows = tuple((*key, before[key], now[key]) for key in sorted(before))
    return steps, Scored(mean_of(before), mean_of(now), len(rows), rows)
