"""Fuse the logits of windows, guided and unguided, by weights."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from vivim.inference.batch_runner import Prepare, Runner
from vivim.inference.feature_cache import EncodedWindows
from vivim.inference.sliding_windows import Window
from vivim.inference.uncertainty import (
    DISAGREEMENT_WEIGHT,
    FrameUncertainties,
    boundary_uncertainty,
    difference,
)

PROPAGATED_WEIGHT = 3.0
"""Weight of a propagated mask beside the logits: it multiplies its squashed signed distance and its confidence."""

MIN_PROPAGATED_CONFIDENCE = 0.1
"""Confidence with which a propagated mask counts at least: where the network finds nothing, any guess is better."""

MIN_WEIGHT = 1e-6
"""Weight of logits that count for nothing, so that a mean is defined where there are no others."""


def guided_share(confidence: float, reliability: float) -> float:
    """Weight of guided beside unguided logits, in [0, 1].

    It is 1 where the confidence in propagated masks is full, and where the unguided network has no `reliability` on the
    video; see `vivim.inference.model_reliability`.
    """
    return 1.0 - (1.0 - confidence) * reliability


def weigh_guided(
    logits: Tensor, planes: Tensor, confidences: Sequence[float], reliability: float
) -> tuple[Tensor, list[float]]:
    """Guided logits ``(T, C, H, W)`` with the propagated mask added, and weights beside those of `weigh_unguided`.

    The mask, the first of the guide `planes` ``(T, 2, H, W)``, is added to all classes alike, by the confidence in it.
    It moves the outline against the background and never exchanges classes. The model's `reliability` multiplies
    logits.
    """
    shares = [max(guided_share(confidence, reliability), MIN_WEIGHT) for confidence in confidences]
    propagated = [
        PROPAGATED_WEIGHT * max(confidence, MIN_PROPAGATED_CONFIDENCE) / share
        for confidence, share in zip(confidences, shares, strict=True)
    ]
    factor = torch.tensor(propagated, dtype=logits.dtype, device=logits.device)[:, None, None, None]
    return reliability * logits + factor * planes[:, :1], shares


def weigh_unguided(
    logits: Tensor, confidences: Sequence[float], reliability: float
) -> tuple[Tensor, list[float]]:
    """Unguided logits ``(T, C, H, W)`` and their weights beside those of `weigh_guided`."""
    return reliability * logits, [
        max(1.0 - guided_share(confidence, reliability), MIN_WEIGHT) for confidence in confidences
    ]


Weigh = Callable[[Window, Tensor, Tensor | None], tuple[Tensor, Sequence[float]]]
"""From a window, logits ``(n, C, H, W)`` of its kept frames and their guide planes, to logits and their weights."""


def equal_weights(window: Window, logits: Tensor, planes: Tensor | None) -> tuple[Tensor, Sequence[float]]:
    """Logits as they are, the same weight for every window."""
    return logits, [1.0] * len(logits)


@dataclass
class _FrameLogits:
    """Weighted logits ``(C, H, W)`` of one frame summed over windows, and the mask ``(H, W)`` bool of each window."""

    total: Tensor | float = 0.0
    weights: list[float] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, weight: float, mask: Tensor) -> None:
        self.total = self.total + weight * logits
        self.weights.append(weight)
        self.masks.append(mask)

    def mean(self) -> Tensor:
        assert isinstance(self.total, Tensor)
        return self.total / sum(self.weights)

    def disagreement(self) -> Tensor:
        """What the disagreement between windows adds to the uncertainty: a number, not below 0.

        Two windows of equal weight count in full, and a window of weight 0 not at all.
        """
        windows = combinations(zip(self.weights, self.masks, strict=True), 2)
        pairs = [
            4 * a * b * difference(one, other) / (a + b) ** 2 for (a, one), (b, other) in windows if a + b
        ]
        if not pairs:
            return torch.zeros((), device=self.masks[0].device)
        return DISAGREEMENT_WEIGHT * torch.stack(pairs).mean()


def fuse_windows(
    runner: Runner,
    windows: Sequence[Window],
    prepare: Prepare,
    weigh: Weigh,
    encoded_cache: EncodedWindows | None = None,
) -> Iterator[tuple[list[int], Tensor, FrameUncertainties]]:
    """Yield frames as they get complete, their logits ``(n, C, H, W)`` and their uncertainties.

    Logits are the weighted mean over the windows that keep a frame.
    """
    awaited = Counter(t for window in windows for t in window.kept)
    frames: defaultdict[int, _FrameLogits] = defaultdict(_FrameLogits)
    for window, logits, planes in runner.run(windows, prepare, encoded_cache):
        weighed, weights = weigh(window, logits, planes)
        masks = weighed.amax(dim=1) > 0
        complete = []
        for t, *of_window in zip(window.kept, weighed, weights, masks, strict=True):
            frames[t].add(*of_window)
            if len(frames[t].masks) == awaited[t]:
                complete.append(t)
        if complete:
            done = [frames.pop(t) for t in complete]
            means = torch.stack([frame.mean() for frame in done])
            between = torch.stack([frame.disagreement() for frame in done]).cpu().numpy()
            yield complete, means, FrameUncertainties(boundary_uncertainty(means) + between, between)
