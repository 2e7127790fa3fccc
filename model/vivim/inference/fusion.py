"""Fuse the logits of windows, guided and unguided, by weights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vivim.inference.batch_runner import Prepare, Runner
from vivim.inference.feature_cache import EncodedWindows
from vivim.inference.sliding_windows import Window
from vivim.inference.uncertainty import FrameUncertainty, Seen, boundary_uncertainty

PROPAGATED_WEIGHT = 3.0
"""What is added to the guided logits, times the squashed signed distance of the carried mask and its trust."""
LEAST_PROPAGATED_WEIGHT = 0.1
"""Trust with which a carried mask counts at least: where the network has nothing to say, any guess is better."""
LEAST = 1e-6
"""Weight of what counts for nothing, so that a mean is defined where nothing else was said."""


def share_guided(confidence: float, reliability: float) -> float:
    """How much what the network says with guidance counts against what it says without, in [0, 1].

    All of it where carried masks are trusted in full, and where the network by itself is not `reliability` with what it
    sees; see `vivim.inference.model_reliability`.
    """
    return 1.0 - (1.0 - confidence) * reliability


def with_guidance(
    logits: Tensor, planes: Tensor, confidences: Sequence[float], reliability: float
) -> tuple[Tensor, list[float]]:
    """Logits of frames seen with guidance as they count, and how much beside those of `without_guidance`.

    Parameters
    ----------
    logits : Tensor
        ``(T, C, H, W)``.
    planes : Tensor
        Guide planes ``(T, 2, H, W)``. The first is added, `PROPAGATED_WEIGHT` times its confidence, which counts
        `LEAST_PROPAGATED_WEIGHT` at least.
        class. Added to all classes alike, it moves the outline against the background and never exchanges classes.
    trusts : sequence of float
        How far to trust the carried masks of each frame.
    familiar : float
        How well the network by itself knows what the video shows; all that it says counts by it.
    """
    shares = [share_guided(confidence, reliability) for confidence in confidences]
    propagated = [
        PROPAGATED_WEIGHT * max(confidence, LEAST_PROPAGATED_WEIGHT) / max(share, LEAST)
        for confidence, share in zip(confidences, shares, strict=True)
    ]
    factor = torch.tensor(propagated, dtype=logits.dtype, device=logits.device)[:, None, None, None]
    return reliability * logits + factor * planes[:, :1], [max(share, LEAST) for share in shares]


def without_guidance(
    logits: Tensor, confidences: Sequence[float], reliability: float
) -> tuple[Tensor, list[float]]:
    """Logits ``(T, C, H, W)`` of frames seen without guidance as they count, and how much beside `with_guidance`."""
    return reliability * logits, [
        max(1.0 - share_guided(confidence, reliability), LEAST) for confidence in confidences
    ]


Weigh = Callable[[Window, Tensor, Tensor | None], tuple[Tensor, Sequence[float]]]
"""From a window, logits ``(n, C, H, W)`` of its kept frames and their guide planes, to logits and their weights."""


def equal_weights(window: Window, logits: Tensor, planes: Tensor | None) -> tuple[Tensor, Sequence[float]]:
    """Every window counts alike, for what it says."""
    return logits, [1.0] * len(logits)


def keep_windows(
    runner: Runner,
    windows: Sequence[Window],
    prepare: Prepare,
    weigh: Weigh,
    encoded_cache: EncodedWindows | None = None,
) -> Iterator[tuple[list[int], Tensor, FrameUncertainty]]:
    """Yield frames as they get complete, their logits ``(n, C, H, W)`` and how unsure the model is of each.

    Logits are the mean over the windows that keep a frame, each counting as `weigh` says; see
    `vivim.inference.uncertainty` for the
    second.
    """
    awaited = Counter(t for window in windows for t in window.kept)
    seen: defaultdict[int, Seen] = defaultdict(Seen)
    for window, logits, planes in runner.run(windows, prepare, encoded_cache):
        mine, weights = weigh(window, logits, planes)
        masks = mine.amax(dim=1) > 0
        complete = []
        for t, *said in zip(window.kept, mine, weights, masks, strict=True):
            seen[t].add(*said)
            if len(seen[t].masks) == awaited[t]:
                complete.append(t)
        if complete:
            whole = [seen.pop(t) for t in complete]
            means = torch.stack([one.mean() for one in whole])
            beside = torch.stack([one.doubt() for one in whole]).cpu().numpy()
            yield complete, means, FrameUncertainty(boundary_uncertainty(means) + beside, beside)
