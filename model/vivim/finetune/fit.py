"""Train a decoder on encoded frames, gently: few steps, frozen normalisation, kept near its parent.

Held-out scores come from training again and again with one block of time left out each round.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vivim.finetune.events import Step
from vivim.finetune.features import Sample
from vivim.metrics import dice
from vivim.network.decoder import Decoder
from vivim.training.losses import structure_loss
from vivim.trust import TRUSTS

Scores = dict[float, dict[tuple[int, int], float]]
"""Dice by trust, then by (session, frame)."""

STEP_CHOICES = (10, 20, 40)
"""Lengths of training that are tried; held-out frames choose among them."""

BATCH = 4
LEARNING_RATE = 4e-4
PULL = 0.05
"""Weight of the squared distance to the parent's weights."""

MAX_FOLDS = 4


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that fine-tuning moves; running statistics and scales of BatchNorm stay."""
    frozen = {id(p) for m in module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    return [p for p in module.parameters() if id(p) not in frozen]


def freeze_normalisation(module: nn.Module) -> None:
    """Training mode, but for BatchNorm, which keeps the statistics it has."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def pull_to(parameters: Sequence[Tensor], parents: Sequence[Tensor]) -> Tensor:
    """Squared distance between weights and their parents."""
    return torch.stack([(a - b).square().sum() for a, b in zip(parameters, parents, strict=True)]).sum()


def decode(decoder: Decoder, samples: Sequence[Sample], device: torch.device) -> Tensor:
    """Logits ``(n, C, H, W)`` of encoded frames at their targets' size."""
    features = [
        torch.cat(level).to(device).float() for level in zip(*(s.features for s in samples), strict=True)
    ]
    size = tuple(samples[0].target.shape[-2:])
    return nn.functional.interpolate(decoder(features), size=size, mode="bilinear", align_corners=False)


def fit_decoder(
    decoder: Decoder, samples: Sequence[Sample], steps: int, device: torch.device, seed: int, fold: int = 0
) -> Iterator[Step]:
    """Train `decoder` in place for `steps` steps; yields after each."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    freeze_normalisation(decoder)
    parameters = trainable(decoder)
    parents = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    for step in range(1, steps + 1):
        chosen = [samples[i] for i in rng.choice(len(samples), min(BATCH, len(samples)), replace=False)]
        targets = torch.cat([s.target for s in chosen]).to(device).float()
        weights = torch.cat([s.weight for s in chosen]).to(device).float()
        loss = structure_loss(decode(decoder, chosen, device), targets, weights).mean()
        optimiser.zero_grad(set_to_none=True)
        (loss + PULL * pull_to(parameters, parents)).backward()
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / 5)
        optimiser.step()
        yield Step(step, steps, float(loss.detach()), fold)
    decoder.eval()


@torch.inference_mode()
def score(decoder: Decoder, samples: Sequence[Sample], device: torch.device) -> Scores:
    """Dice of each encoded frame against its corrected mask, for every trust in the carried masks.

    Classes are averaged. See `vivim.trust`.
    """
    decoder.eval()
    scores: Scores = {trust: {} for trust in TRUSTS}
    for sample in samples:
        logits = decode(decoder, [sample], device).cpu()
        for trust in TRUSTS:
            predicted = (logits + trust * sample.guess.float() > 0).numpy()[0]
            pairs = zip(predicted, sample.target.numpy()[0], strict=True)
            scores[trust][sample.session, sample.frame] = float(np.mean([dice(p, t) for p, t in pairs]))
    return scores


def folds_of(keys: Sequence[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Blocks of corrected frames to hold out: whole sessions where there are several, else stretches of time."""
    sessions = sorted({number for number, _ in keys})
    if len(sessions) > 1:
        groups = np.array_split(sessions, min(MAX_FOLDS, len(sessions)))
        return [{key for key in keys if key[0] in group} for group in groups]
    blocks = np.array_split(np.arange(len(keys)), min(MAX_FOLDS, len(keys)))
    return [{keys[i] for i in block} for block in blocks]


def held_out_scores(
    decoder: Decoder, samples: Sequence[Sample], device: torch.device, seed: int
) -> Iterator[Step | dict[int, Scores]]:
    """Train with each block left out in turn.

    Yields the steps, and at the end one dictionary: for every number of steps in `STEP_CHOICES`, the scores of each
    corrected frame by a decoder that never saw it.
    """
    keys = sorted({(s.session, s.frame) for s in samples})
    result: dict[int, Scores] = {steps: {trust: {} for trust in TRUSTS} for steps in STEP_CHOICES}
    for number, held_out in enumerate(folds_of(keys), start=1):
        copied = copy.deepcopy(decoder)
        seen = [s for s in samples if (s.session, s.frame) not in held_out]
        judged = [s for s in samples if (s.session, s.frame) in held_out and s.in_use]
        for step in fit_decoder(copied, seen, max(STEP_CHOICES), device, seed, fold=number):
            yield step
            if step.step in result:
                for trust, found in score(copied, judged, device).items():
                    result[step.step][trust].update(found)
                freeze_normalisation(copied)
    yield result
