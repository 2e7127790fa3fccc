"""What can be trained: the decoder or the decoder and last stage, on encoded frames; or the whole network."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

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
    trainable,
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


class Encoded:
    """Decoder, and the last stage if `last_stage`, trained on frames that were encoded once.

    Parameters
    ----------
    model : Vivim
        Trained in place.
    samples : sequence of Sample
        The frames, in all their variants.
    device : torch.device
        Where `model` is.
    last_stage : bool
        Also train the encoder's last stage, from what the samples keep of the one before.
    """

    def __init__(
        self, model: Vivim, samples: Sequence[Sample], device: torch.device, last_stage: bool
    ) -> None:
        self.model, self.samples, self.device, self.last_stage = model, samples, device, last_stage
        self.keys = {(s.session, s.frame) for s in samples}

    def copy(self) -> Encoded:
        """The same, untouched by what the other learns."""
        return Encoded(copy.deepcopy(self.model), self.samples, self.device, self.last_stage)

    def fit(self, keys: set[tuple[int, int]], steps: int, seed: int, fold: int) -> Iterator[Step]:
        """Learn from some of the frames, in place; yields after each step."""
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        known = [s for s in self.samples if (s.session, s.frame) in keys]

        def losses() -> Tensor:
            for part in self._parts():
                freeze_normalisation(part)
            chosen = [known[i] for i in rng.choice(len(known), min(BATCH, len(known)), replace=False)]
            targets = torch.cat([s.target for s in chosen]).to(self.device).float()
            weights = torch.cat([s.weight for s in chosen]).to(self.device).float()
            return structure_loss(self._decode(chosen), targets, weights).mean()

        known_classes = knows_its_classes(self.model)
        rate = DECODER_LEARNING_RATE if known_classes else NEW_CLASS_LEARNING_RATE
        groups = [{"params": trainable(self.model.decoder), "lr": rate}]
        if self.last_stage:
            stage = [p for part in self._parts()[1:] for p in trainable(part)]
            groups.append({"params": stage, "lr": ENCODER_LEARNING_RATE})
        yield from train(groups, losses, steps, fold, pull=PULL if known_classes else 0.0)
        self.model.eval()

    @torch.inference_mode()
    def score(self, keys: set[tuple[int, int]]) -> Scores:
        """Dice of some of the frames as they are met in use, with guidance and without."""
        self.model.eval()
        return score_all(keys, self.keys, self._judged)

    def _judged(self, keys: set[tuple[int, int]], guided: bool) -> Judged:
        for s in self.samples:
            if s.in_use and (s.session, s.frame) in keys and (guided or s.confidence is None):
                yield s, self._decode([s]).cpu(), s.guess.float()

    def _parts(self) -> list[nn.Module]:
        encoder = self.model.encoder
        last = [encoder.patch_embeddings[-1], encoder.mit[-1], encoder.temporal[-1]]
        return [self.model.decoder, *last] if self.last_stage else [self.model.decoder]

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


class Whole:
    """The whole network, trained on windows that are encoded anew at every step; slow.

    Parameters
    ----------
    model : Vivim
        Trained in place.
    source : Source
        Makes the windows.
    chosen : sequence of Variant
        The frames, in all their variants.
    """

    def __init__(self, model: Vivim, source: Source, chosen: Sequence[Variant]) -> None:
        self.model, self.source, self.variants = model, source, chosen
        self.keys = {(v.session, v.frame) for v in chosen}

    def copy(self) -> Whole:
        """The same, untouched by what the other learns."""
        return Whole(copy.deepcopy(self.model), self.source, self.variants)

    def fit(self, keys: set[tuple[int, int]], steps: int, seed: int, fold: int) -> Iterator[Step]:
        """Learn from some of the frames, in place; yields after each step."""
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        known = [v for v in self.variants if (v.session, v.frame) in keys]

        def losses() -> Tensor:
            freeze_normalisation(self.model)
            window = self.source.windows([known[rng.integers(len(known))]])[0]
            logits = self.model(window.x, window.guide)[0, window.position : window.position + 1]
            return structure_loss(logits, window.target.to(self.source.device).float()).mean()

        known_classes = knows_its_classes(self.model)
        rate = ENCODER_LEARNING_RATE if known_classes else NEW_CLASS_LEARNING_RATE
        decoder = trainable(self.model.decoder)
        ours = {id(p) for p in decoder}
        rest = [p for p in trainable(self.model) if id(p) not in ours]
        groups = [{"params": decoder, "lr": rate}, {"params": rest, "lr": ENCODER_LEARNING_RATE}]
        pull = PULL if known_classes else 0.0
        yield from train(groups, losses, steps, fold, MAX_GRADIENT, pull)
        self.model.eval()

    @torch.inference_mode()
    def score(self, keys: set[tuple[int, int]]) -> Scores:
        """Dice of some of the frames as they are met in use."""
        self.model.eval()
        return score_all(keys, self.keys, self._judged)

    def _judged(self, keys: set[tuple[int, int]], guided: bool) -> Judged:
        for variant in self.variants:
            wanted = (variant.session, variant.frame) in keys and (guided or not variant.guided)
            if wanted and not variant.mirrored:
                window = self.source.windows([variant])[0]
                at = slice(window.position, window.position + 1)
                logits = self.model(window.x, window.guide)[0, at].cpu()
                guess = torch.zeros(1, 1, 1, 1) if window.guide is None else window.guide[0, at, :1].cpu()
                yield window, logits, guess
