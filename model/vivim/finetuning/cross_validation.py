"""Judge a fine-tune on corrected frames that were held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vivim.finetuning.events import HeldOut, Step
from vivim.finetuning.samples import Sample, Window
from vivim.finetuning.training_loop import Scores
from vivim.inference.fusion import weigh_guided, weigh_unguided
from vivim.inference.model_reliability import expected_dice, reliability_from, spread_evenly
from vivim.network.preprocessing import dice_of_logits, mask_from_logits

if TYPE_CHECKING:
    from vivim.finetuning.trainables import Trainable

MAX_FOLDS = 4
Judged = Iterable[tuple[Sample | Window, Tensor, Tensor]]
"""Frames as they are met in use, each with its logits ``(1, C, H, W)`` and propagated mask ``(1, 1, H, W)``."""


def blended_scores(judged: Judged, reliability: Mapping[tuple[int, int], float]) -> Scores:
    """Dice of frames with guidance and without, blended as while proposing; see `vivim.propagation.confidence`.

    `reliability` is the model reliability of each frame's video, measured by `score_all` on other frames.
    """
    means: dict[tuple[int, int], Tensor] = {}
    confidences: dict[tuple[int, int], float] = {}
    truths: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for sample, logits, guess in sorted(judged, key=lambda one: one[0].confidence is None):
        key = sample.session, sample.frame
        if sample.confidence is not None:
            confidences[key] = sample.confidence
            counted, (weight,) = weigh_guided(logits, guess, [sample.confidence], reliability[key])
        else:
            counted, (weight,) = weigh_unguided(logits, [confidences.get(key, 0.0)], reliability[key])
        means[key] = means.get(key, 0.0) + weight * counted
        truths[key] = true_mask(sample)
    return {key: dice_of_logits(mean, truths[key]) for key, mean in means.items()}


def reliability_frames(
    keys: set[tuple[int, int]], known: set[tuple[int, int]]
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Choose for each of some corrected frames the frames that measure the model reliability for its video.

    These are the frames of the video in `known` without `keys`, or where none are left, all but the frame itself.
    """
    found = {}
    for key in keys:
        video = sorted(other for other in known if other[0] == key[0])
        rest = [other for other in video if other not in keys] or [other for other in video if other != key]
        found[key] = spread_evenly(rest)
    return found


def score_all(
    keys: set[tuple[int, int]],
    known: set[tuple[int, int]],
    judge: Callable[[set[tuple[int, int]], bool], Judged],
) -> Scores:
    """Dice of some corrected frames as they are met in use.

    ``judge(keys, guided)`` yields frames with their logits, only those without guidance if not `guided`.
    """
    judged, others = list(judge(keys, True)), reliability_frames(keys, known)
    dice, certainties = unguided_scores(judged)
    missing = {other for some in others.values() for other in some} - dice.keys()
    for found, more in zip((dice, certainties), unguided_scores(judge(missing, False)), strict=True):
        found.update(more)
    reliability = {}
    for key, some in others.items():
        of_video = [certainties[other] for other in certainties if other[0] == key[0]]
        there = [dice[other] for other in some], [certainties[other] for other in some]
        reliability[key] = reliability_from(*there, of_video) if some else 1.0
    return blended_scores(judged, reliability)


def unguided_scores(judged: Judged) -> tuple[Scores, Scores]:
    """Dice and certainty of frames by their logits without guidance."""
    dice, certainties = {}, {}
    for sample, logits, _ in judged:
        if sample.confidence is None:
            key = sample.session, sample.frame
            dice[key], certainties[key] = dice_of_logits(logits, true_mask(sample)), expected_dice(logits[0])
    return dice, certainties


def true_mask(sample: Sample | Window) -> NDArray[np.uint8]:
    """The label mask ``(H, W)`` of a frame."""
    size = (int(sample.target.shape[-2]), int(sample.target.shape[-1]))
    return mask_from_logits(sample.target[0].float(), size)


def mean_of(scores: Scores) -> float:
    """Mean Dice over frames."""
    return float(np.mean(list(scores.values())))


def split_folds(keys: Sequence[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """Split corrected frames into blocks to hold out: sessions where there are several, else stretches of time."""
    sessions = sorted({number for number, _ in keys})
    if len(sessions) > 1:
        groups = np.array_split(sessions, min(MAX_FOLDS, len(sessions)))
        return [{key for key in keys if key[0] in group} for group in groups]
    blocks = np.array_split(np.arange(len(keys)), min(MAX_FOLDS, len(keys)))
    return [{keys[i] for i in block} for block in blocks]


def held_out_scores(
    trainable: Trainable, seed: int, choices: Sequence[int]
) -> Iterator[Step | HeldOut | dict[int, Scores]]:
    """Train with each block left out in turn, and yield the steps and the scores between them.

    The last item holds, for every number of steps in `choices`, the scores of each frame by a copy that never learned
    it.
    """
    keys = set(trainable.keys)
    total = max(choices)
    result: dict[int, Scores] = {steps: {} for steps in choices}
    for number, held_out in enumerate(split_folds(sorted(keys)), start=1):
        copied = trainable.copy()
        for step in copied.fit(keys - held_out, total, seed, number):
            yield step
            if step.step in result:
                found = copied.score(held_out)
                result[step.step].update(found)
                yield HeldOut(step.step, total, mean_of(found), number)
    yield result
