"""The fine-tune itself, in the process that calls it: encode, judge on held-out frames, train, hand over."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vivim.device import choose_device
from vivim.errors import FinetuneError
from vivim.finetune.events import Preparing, Scored, Step
from vivim.finetune.features import Sample, corrected_frames, encode, is_guided, windows
from vivim.finetune.fit import (
    PULL,
    STEP_CHOICES,
    Scores,
    fit_decoder,
    freeze_normalisation,
    held_out_scores,
    pull_to,
    score,
    trainable,
)
from vivim.network import Vivim
from vivim.session import Session
from vivim.training.losses import structure_loss
from vivim.trust import UNGUIDED, best_trust, session_key

SCOPES = ("decoder", "all")

ENCODER_LEARNING_RATE = 3e-5


@dataclass(frozen=True)
class Trained:
    """The result of a fine-tune: a new model and what the held-out frames say of it."""

    model: Vivim
    promoted: bool
    scored: Scored
    seconds: float


def run(
    sessions: Sequence[Session], model: Vivim, scope: str = "decoder", device: str = "auto", seed: int = 0
) -> Iterator[Preparing | Step | Scored | Trained]:
    """Fine-tune a copy of `model` on the corrected and accepted frames of `sessions`.

    Yields progress, then `Scored`, then `Trained`. `model` itself is never changed.

    Raises
    ------
    FinetuneError
        If there is no corrected frame, or the scope is unknown.
    """
    if scope not in SCOPES:
        raise FinetuneError(f"Unknown scope {scope!r}. Choose one of {', '.join(SCOPES)}.")
    began = time.monotonic()
    target = choose_device(device)
    keys = corrected_frames(sessions)
    if not keys:
        raise FinetuneError("No corrected frame to learn from. Correct or accept at least one frame first.")
    tuned = copy.deepcopy(model).to(target).eval()
    samples: list[Sample] = []
    ready: set[tuple[int, int]] = set()
    guided = [is_guided(session, tuned, target) for session in sessions]
    for window in windows(sessions, guided, tuned, target):
        samples.append(encode(tuned, window))
        ready.add((window.session, window.frame))
        yield Preparing(len(ready), len(keys))
    before = score(tuned.decoder, [s for s in samples if s.in_use], target)
    steps, trust, scored = max(STEP_CHOICES), 0.0, Scored(None, None, len(keys), ())
    if len(keys) > 1:
        for item in held_out_scores(tuned.decoder, samples, target, seed):
            if isinstance(item, Step):
                yield item
            else:
                steps, trust, scored = judge(before, item)
    yield scored
    if scope == "decoder":
        yield from fit_decoder(tuned.decoder, samples, steps, target, seed)
    else:
        yield from fit_all(sessions, guided, tuned, steps, target, seed)
    promoted = scored.before is not None and scored.after is not None and scored.after > scored.before
    if tuned.config.guided and len(keys) > 1 and not any(guided):
        trust = UNGUIDED
    learned_from = sorted({*model.provenance.get("learned_from", []), *map(session_key, sessions)})
    tuned.provenance = {**tuned.provenance, "trust": trust, "learned_from": learned_from}
    yield Trained(tuned.cpu().eval(), promoted, scored, time.monotonic() - began)


def judge(before: Scores, after: dict[int, Scores]) -> tuple[int, float, Scored]:
    """The number of steps and the trust in carried masks that held-out frames like best, and the scores there.

    The parent is given its own best trust, so that a new version only counts as better if training made it so.
    """

    def mean(scores: dict[tuple[int, int], float]) -> float:
        return float(np.mean(list(scores.values())))

    then = before[best_trust(before)]
    steps = max(after, key=lambda count: mean(after[count][best_trust(after[count])]))
    trust = best_trust(after[steps])
    now = after[steps][trust]
    rows = tuple((*key, then[key], now[key]) for key in sorted(then))
    return steps, trust, Scored(mean(then), mean(now), len(rows), rows)


def fit_all(
    sessions: Sequence[Session],
    guided: Sequence[bool],
    model: Vivim,
    steps: int,
    device: torch.device,
    seed: int,
) -> Iterator[Step]:
    """Train encoder and decoder together, in place; slower, for videos unlike anything seen before."""
    torch.manual_seed(seed)
    freeze_normalisation(model)
    parameters = trainable(model)
    parents = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, lr=ENCODER_LEARNING_RATE)
    number = 0
    while number < steps:
        for window in windows(sessions, guided, model, device):
            logits = model(window.x, window.guide)[0, window.position : window.position + 1]
            loss = structure_loss(logits, window.target.to(device).float()).mean()
            if not math.isfinite(float(loss.detach())):
                raise FinetuneError("The loss is no longer a number. Use the scope 'decoder' instead.")
            optimiser.zero_grad(set_to_none=True)
            (loss + PULL * pull_to(parameters, parents)).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            number += 1
            yield Step(number, steps, float(loss.detach()), 0)
            if number == steps:
                break
    model.eval()
