"""Whether the corrected frames of a session guide one another, so that learning sees what use will see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vivim.device import unprepared
from vivim.finetune.cache import FeatureCache
from vivim.finetune.features import Sample, Source, Variant, encoded
from vivim.network import Vivim
from vivim.preprocess import masks_from_logits
from vivim.trust import UNGUIDED, calibrate, judges, stored_trust


class Encodings:
    """Corrected frames encoded with one model, each variant once.

    Parameters
    ----------
    model : Vivim
        In evaluation mode, where `source` wants windows.
    source : Source
        Makes the windows.
    cache : FeatureCache, optional
        Encodings of earlier fine-tunes.
    """

    def __init__(self, model: Vivim, source: Source, cache: FeatureCache | None) -> None:
        self._model, self._source, self._cache = model, source, cache
        self._samples: dict[Variant, Sample] = {}

    def of(self, variants: Iterable[Variant]) -> Iterator[Sample]:
        """Each variant encoded, in the order given."""
        chosen = list(variants)
        missing = [variant for variant in chosen if _kind(variant) not in self._samples]
        made = encoded(self._model, self._source, missing, self._cache)
        for variant in chosen:
            kind = _kind(variant)
            if kind not in self._samples:
                self._samples[kind] = next(made)
            yield replace(self._samples[kind], in_use=variant.in_use)

    def guided(self) -> list[bool]:
        """Of each session whether its corrected frames guide one another; see `vivim.trust.calibrate`."""
        return [self._model.config.guided and self._guided(n) for n in range(len(self._source.sessions))]

    @torch.inference_mode()
    def _guided(self, number: int) -> bool:
        session = self._source.sessions[number]
        if len(session.frames_with("corrected", "accepted")) < 2:
            return False
        stored = stored_trust(session, self._model)
        if stored is not None:
            return stored != UNGUIDED
        pairs = [Variant(number, t, guided, False, True) for t in judges(session) for guided in (False, True)]
        samples = {(v.frame, v.guided): s for v, s in zip(pairs, self.of(pairs), strict=True)}

        def predict(t: int, guided: bool) -> tuple[Tensor, Tensor, np.ndarray]:
            sample, device = samples[t, guided], self._source.device
            size = (int(sample.target.shape[-2]), int(sample.target.shape[-1]))
            with unprepared(device):
                logits = self._model.decode([f.to(device).float() for f in sample.features], size).cpu()
            return logits, sample.guess.float(), masks_from_logits(sample.target.float(), size)[0]

        return calibrate(session, predict) != UNGUIDED


def _kind(variant: Variant) -> Variant:
    return replace(variant, in_use=True)
