"""The trainable parts of a network: the decoder, the decoder and the last stage, or the whole network."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vivim.devices import unprepared
from vivim.finetuning.cross_validation import Judged, score_all
from vivim.finetuning.events import Step
from vivim.finetuning.samples import Sample, Source, Variant
from vivim.finetuning.training_loop import (
    PULL,
    Scores,
    freeze_normalisation,
    knows_its_classes,
    train,
    trainable_parameters,
)
from vivim.network import Vivim
from vivim.training.losses import structure_loss

BATCH = 2
DECODER_LEARNING_RATE = 4e-4
NEW_CLASS_LEARNING_RATE = 2e-3
"""Of the decoder, where the model has yet to learn its classes."""
ENCODER_LEARNING_RATE = 3e-5
MAX_GRADIENT = 1.0
"""Norm that gradients of the whole network are clipped to."""

Item = TypeVar("Item", Sample, Variant)


class Trainable(ABC, Generic[Item]):
    """A model on a device of which some part is trained in place, with the frames it learns from, in all variants."""

    known_classes_rate = DECODER_LEARNING_RATE
    max_gradient: float | None = None

    def __init__(self, model: Vivim, items: Sequence[Item], device: torch.device) -> None:
        self.model, self.device = model, device
        self.items: Sequence[Item] = items
        self.keys = {(item.session, item.frame) for item in items}

    def copy(self) -> Trainable[Item]:
        """Copy the model, so that one copy can learn without the other."""
        copied = copy.copy(self)
        copied.model = copy.deepcopy(self.model)
        return copied

    def fit(self, keys: set[tuple[int, int]], steps: int, seed: int, fold: int) -> Iterator[Step]:
        """Learn from some of the frames, and yield after each step."""
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        known = [item for item in self.items if (item.session, item.frame) in keys]
        knows = knows_its_classes(self.model)
        rate = self.known_classes_rate if knows else NEW_CLASS_LEARNING_RATE
        groups = [{"params": trainable_parameters(self.model.decoder), "lr": rate}, *self.encoder_groups()]
        pull = PULL if knows else 0.0
        yield from train(groups, lambda: self.loss(known, rng), steps, fold, self.max_gradient, pull)
        self.model.eval()

    @torch.inference_mode()
    def score(self, keys: set[tuple[int, int]]) -> Scores:
        """Dice of some of the frames as they are met in use, with guidance and without."""
        self.model.eval()
        return score_all(keys, self.keys, self.judged)

    @abstractmethod
    def loss(self, known: Sequence[Item], rng: np.random.Generator) -> Tensor:
        """Loss of a few of the `known` frames, drawn at random, with the model in training mode."""

    @abstractmethod
    def encoder_groups(self) -> list[dict[str, Any]]:
        """Parameters of the encoder that are trained, as groups of an optimiser."""

    @abstractmethod
    def judged(self, keys: set[tuple[int, int]], guided: bool) -> Judged:
        """Logits of some of the frames as they are met in use, only those without guidance if not `guided`."""


class DecoderTrainable(Trainable[Sample]):
    """The decoder, and the last stage if `last_stage`, trained on frames that were encoded once."""

    def __init__(
        self, model: Vivim, samples: Sequence[Sample], device: torch.device, last_stage: bool
    ) -> None:
        super().__init__(model, samples, device)
        self.last_stage = last_stage

    def loss(self, known: Sequence[Sample], rng: np.random.Generator) -> Tensor:
        """Structure loss of `BATCH` frames."""
        for part in (self.model.decoder, *self._stage()):
            freeze_normalisation(part)
        chosen = [known[i] for i in rng.choice(len(known), min(BATCH, len(known)), replace=False)]
        targets = torch.cat([s.target for s in chosen]).to(self.device).float()
        weights = torch.cat([s.weight for s in chosen]).to(self.device).float()
        return structure_loss(self._decode(chosen), targets, weights).mean()

    def encoder_groups(self) -> list[dict[str, Any]]:
        """The last stage, if that is trained."""
        stage = [p for part in self._stage() for p in trainable_parameters(part)]
        return [{"params": stage, "lr": ENCODER_LEARNING_RATE}] if stage else []

    def judged(self, keys: set[tuple[int, int]], guided: bool) -> Judged:
        """Logits of some of the frames, decoded anew."""
        for s in self.items:
            if s.in_use and (s.session, s.frame) in keys and (guided or s.confidence is None):
                yield s, self._decode([s]).cpu(), s.guess.float()

    def _stage(self) -> list[nn.Module]:
        encoder = self.model.encoder
        return (
            [encoder.patch_embeddings[-1], encoder.mit[-1], encoder.temporal[-1]] if self.last_stage else []
        )

    def _decode(self, samples: Sequence[Sample]) -> Tensor:
        levels = [
            torch.cat(level).to(self.device).float()
            for level in zip(*(s.features for s in samples), strict=True)
        ]
        if self.last_stage:
            levels[-1] = torch.cat([self._last(s) for s in samples])
        size = (int(samples[0].target.shape[-2]), int(samples[0].target.shape[-1]))
        with unprepared(self.device):
            return self.model.decode(levels, size)

    def _last(self, sample: Sample) -> Tensor:
        deep = sample.deep.to(self.device).float().permute(0, 2, 3, 1)
        feature = self.model.encoder.stage(-1, deep, len(deep)).permute(0, 3, 1, 2)
        return feature[sample.position : sample.position + 1]


class NetworkTrainable(Trainable[Variant]):
    """The whole network, trained on windows of `source` that are encoded anew at every step, which is slow."""

    known_classes_rate = ENCODER_LEARNING_RATE
    max_gradient = MAX_GRADIENT

    def __init__(self, model: Vivim, source: Source, variants: Sequence[Variant]) -> None:
        super().__init__(model, variants, source.device)
        self.source = source

    def loss(self, known: Sequence[Variant], rng: np.random.Generator) -> Tensor:
        """Structure loss of one frame."""
        freeze_normalisation(self.model)
        window = self.source.windows([known[int(rng.integers(len(known)))]])[0]
        logits = self.model(window.x, window.guide)[0, window.position : window.position + 1]
        return structure_loss(logits, window.target.to(self.device).float()).mean()

    def encoder_groups(self) -> list[dict[str, Any]]:
        """All but the decoder."""
        decoder = {id(p) for p in self.model.decoder.parameters()}
        rest = [p for p in trainable_parameters(self.model) if id(p) not in decoder]
        return [{"params": rest, "lr": ENCODER_LEARNING_RATE}]

    def judged(self, keys: set[tuple[int, int]], guided: bool) -> Judged:
        """Logits of some of the frames, encoded anew."""
        for variant in self.items:
            wanted = (variant.session, variant.frame) in keys and (guided or not variant.guided)
            if wanted and not variant.mirrored:
                window = self.source.windows([variant])[0]
                at = slice(window.position, window.position + 1)
                logits = self.model(window.x, window.guide)[0, at].cpu()
                guess = torch.zeros(1, 1, 1, 1) if window.guide is None else window.guide[0, at, :1].cpu()
                yield window, logits, guess
