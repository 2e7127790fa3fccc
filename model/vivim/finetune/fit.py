"""How fine-tuning trains, whatever it trains: few gentle steps, frozen normalisation, kept near the parent.

Held-out scores come from training again and again with one block of time left out each round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vivim.device import unprepared
from vivim.errors import FinetuneError
from vivim.familiarity import certainty, familiar_by, looked_at
from vivim.finetune.events import HeldOut, Step
from vivim.finetune.features import Sample, Window
from vivim.preprocess import agreement, mask_from_logits
from vivim.trust import with_guidance, without_guidance
from vivim.versions import NEW_CLASSES

if TYPE_CHECKING:
    from vivim.network import Vivim

Scores = dict[tuple[int, int], float]
"""Dice by (session, frame)."""

STEP_CHOICES = (10, 20)
"""Lengths of training that are tried; held-out frames choose among them."""

NEW_CLASS_STEPS = (40, 80)
"""As `STEP_CHOICES`, for a model that has yet to learn its classes."""

WARM_UP = 5
"""Steps until the full learning rate."""

PULL = 0.05
"""Weight of the squared distance to the parent's weights."""

MAX_FOLDS = 4


def knows_its_classes(model: Vivim) -> bool:
    """Whether a model has learned its classes; it has not where it was widened for them and never tuned since.

    Then there is nothing to stay near to: longer and bolder training, without a pull to the parent, is what makes it
    tell them apart.
    """
    return not model.provenance.get(NEW_CLASSES, False)


def step_choices(model: Vivim) -> tuple[int, ...]:
    """Lengths of training that are tried with a model."""
    return STEP_CHOICES if knows_its_classes(model) else NEW_CLASS_STEPS


class Pupil(Protocol):
    """Some part of a network in training, with the frames it learns from; see `vivim.finetune.pupils`."""

    @property
    def keys(self) -> set[tuple[int, int]]:
        """All corrected frames, as (session, frame)."""

    def copy(self) -> Pupil:
        """The same, untouched by what the other learns."""

    def fit(self, keys: set[tuple[int, int]], steps: int, seed: int, fold: int) -> Iterator[Step]:
        """Learn from some of the frames, in place; yields after each step."""

    def score(self, keys: set[tuple[int, int]]) -> Scores:
        """Dice of some of the frames as they are met in use."""


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that fine-tuning moves; running statistics and scales of BatchNorm stay."""
    frozen = {id(p) for m in module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    return [p for p in module.parameters() if id(p) not in frozen]


def freeze_normalisation(module: nn.Module) -> None:
    """Training mode, but for BatchNorm, which keeps the statistics it has, and dropout.

    So few gentle steps, pulled towards the parent, do not overfit; dropout took a quarter of their time and changed
    no score.
    """
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.Dropout):
            part.eval()


def pull_to(parameters: Sequence[Tensor], parents: Sequence[Tensor]) -> Tensor:
    """Squared distance between weights and their parents."""
    return torch.stack([(a - b).square().sum() for a, b in zip(parameters, parents, strict=True)]).sum()


def train(
    parameters: Sequence[Mapping[str, Any]],
    losses: Callable[[], Tensor],
    steps: int,
    fold: int,
    max_gradient: float | None = None,
    pull: float = PULL,
) -> Iterator[Step]:
    """Take `steps` gentle steps on what `losses` gives, pulled back to where they began; yields after each.

    `parameters` are groups as an optimiser takes them, each with its own ``lr``, warmed up over `WARM_UP` steps.
    Gradients are clipped to the norm `max_gradient`, if one is given.

    Raises
    ------
    FinetuneError
        If the loss is no longer a number.
    """
    moved = [p for group in parameters for p in group["params"]]
    parents = [p.detach().clone() for p in moved]
    optimiser = torch.optim.Adam([dict(group) for group in parameters])
    for step in range(1, steps + 1):
        with unprepared(moved[0].device):
            loss = losses()
            if not math.isfinite(float(loss.detach())):
                raise FinetuneError("The loss is no longer a number. Use the scope 'decoder' instead.")
            optimiser.zero_grad(set_to_none=True)
            (loss + pull * pull_to(moved, parents)).backward()
        if max_gradient is not None:
            nn.utils.clip_grad_norm_(moved, max_gradient)
        for group, given in zip(optimiser.param_groups, parameters, strict=True):
            group["lr"] = given["lr"] * min(1.0, step / WARM_UP)
        optimiser.step()
        yield Step(step, steps, float(loss.detach()), fold)


Judged = Iterable[tuple[Sample | Window, Tensor, Tensor]]
"""Frames as they are met in use: each, its logits ``(1, C, H, W)``, and the carried mask ``(1, 1, H, W)``."""


def scores_of(judged: Judged, familiar: Mapping[tuple[int, int], float]) -> Scores:
    """Dice of frames with guidance and without, mixed as while proposing; see `vivim.trust`.

    `familiar` says for each frame how well the network knows the video by other frames; `score_all` finds it out.
    """
    means: dict[tuple[int, int], Tensor] = {}
    trusts: dict[tuple[int, int], float] = {}
    truths: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for sample, logits, guess in sorted(judged, key=lambda one: one[0].trust is None):
        key = sample.session, sample.frame
        if sample.trust is not None:
            trusts[key] = sample.trust
            counted, (weight,) = with_guidance(logits, guess, [sample.trust], familiar[key])
        else:
            counted, (weight,) = without_guidance(logits, [trusts.get(key, 0.0)], familiar[key])
        means[key] = means.get(key, 0.0) + weight * counted
        truths[key] = true_mask(sample)
    return {key: agreement(mean, truths[key]) for key, mean in means.items()}


def others_of(
    keys: set[tuple[int, int]], known: set[tuple[int, int]]
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """For each of some corrected frames, those of its video that tell how well a network knows it.

    Those of `known` that are not among `keys`; where all of the video are, those that are not the frame itself.
    """
    found = {}
    for key in keys:
        video = sorted(other for other in known if other[0] == key[0])
        rest = [other for other in video if other not in keys] or [other for other in video if other != key]
        found[key] = looked_at(rest)
    return found


def score_all(
    keys: set[tuple[int, int]],
    known: set[tuple[int, int]],
    judge: Callable[[set[tuple[int, int]], bool], Judged],
) -> Scores:
    """Dice of some corrected frames as they are met in use.

    ``judge(keys, guided)`` gives frames as the network sees them, without guidance alone if not `guided`.
    """
    judged, others = list(judge(keys, True)), others_of(keys, known)
    right, sure = alone_at(judged)
    missing = {other for some in others.values() for other in some} - right.keys()
    for found, more in zip((right, sure), alone_at(judge(missing, False)), strict=True):
        found.update(more)
    familiar = {}
    for key, some in others.items():
        of_video = [sure[other] for other in sure if other[0] == key[0]]
        there = [right[other] for other in some], [sure[other] for other in some]
        familiar[key] = familiar_by(*there, of_video) if some else 1.0
    return scores_of(judged, familiar)


def alone_at(judged: Judged) -> tuple[Scores, Scores]:
    """Of frames, by what the network says of them without guidance: Dice, and how sure it is."""
    right, sure = {}, {}
    for sample, logits, _ in judged:
        if sample.trust is None:
            key = sample.session, sample.frame
            right[key], sure[key] = agreement(logits, true_mask(sample)), certainty(logits[0])
    return right, sure


def true_mask(sample: Sample | Window) -> NDArray[np.uint8]:
    """The label mask ``(H, W)`` of a frame."""
    size = (int(sample.target.shape[-2]), int(sample.target.shape[-1]))
    return mask_from_logits(sample.target[0].float(), size)


def mean_of(scores: Scores) -> float:
    """Mean Dice over frames."""
    return float(np.mean(list(scores.values())))


def folds_of(keys: Sequence[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Blocks of corrected frames to hold out: whole sessions where there are several, else stretches of time."""
    sessions = sorted({number for number, _ in keys})
    if len(sessions) > 1:
        groups = np.array_split(sessions, min(MAX_FOLDS, len(sessions)))
        return [{key for key in keys if key[0] in group} for group in groups]
    blocks = np.array_split(np.arange(len(keys)), min(MAX_FOLDS, len(keys)))
    return [{keys[i] for i in block} for block in blocks]


def held_out_scores(
    pupil: Pupil, seed: int, choices: Sequence[int]
) -> Iterator[Step | HeldOut | dict[int, Scores]]:
    """Train with each block left out in turn.

    Yields the steps with scores between them, and at the end one dictionary: for every number of steps in
    `choices`, the scores of each corrected frame by a copy that never learned from it.
    """
    keys = set(pupil.keys)
    total = max(choices)
    result: dict[int, Scores] = {steps: {} for steps in choices}
    for number, held_out in enumerate(folds_of(sorted(keys)), start=1):
        copied = pupil.copy()
        for step in copied.fit(keys - held_out, total, seed, number):
            yield step
            if step.step in result:
                found = copied.score(held_out)
                result[step.step].update(found)
                yield HeldOut(step.step, total, mean_of(found), number)
    yield result
