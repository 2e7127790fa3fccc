"""Reliability of an unguided network on a video, judged by its Dice at frames that a person has corrected.

A network that finds those lesions without help deserves weight on other frames. One that finds none of them, in a
kind of video that it never saw, would only take away from the propagated masks. A person corrects the most uncertain
frames first, so that one of them tells little: its Dice is compared with the Dice that the network expected, there
and over the video.
"""

from collections.abc import Hashable, MutableMapping, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from vivim.inference.batch_runner import Inputs, Runner
from vivim.inference.feature_cache import EncodedWindows, WindowScores
from vivim.inference.session_inputs import ResizedFrames, resized_mask, window_inputs
from vivim.inference.sliding_windows import Window
from vivim.network.preprocessing import dice_of_logits
from vivim.propagation.confidence import MIN_PIXELS
from vivim.propagation.mask_propagator import MaskGuide
from vivim.session import Session

T = TypeVar("T")

MAX_JUDGED = 4
"""Corrected frames that the network is judged by, spread over all of them."""

EXPECTATION_WEIGHT = 0.1
"""Weight of the network's own expectation beside one corrected frame; beside n of them, 1 / n² as much."""

QUARTERS = (1, 3)
"""Where else in the video windows are run for the Dice that the network expects, in quarters of its length."""


def expected_dice(logits: Tensor) -> float:
    """Dice that a network expects of its own mask, in [0, 1].

    That is 2 Σ p m / Σ (p + m) over its probabilities p and mask m of one frame's logits ``(C, H, W)``. It is 1 where
    the mask is smaller than `vivim.propagation.confidence.MIN_PIXELS` pixels, as where nothing is found.
    """
    p = logits.amax(dim=0).float().sigmoid()
    mask = p > 0.5
    size = int(mask.sum())
    return 2 * float(p[mask].sum()) / (float(p.sum()) + size) if size >= MIN_PIXELS else 1.0


def reliability_from(
    dice: Sequence[float], expected_there: Sequence[float], expected: Sequence[float]
) -> float:
    """Reliability of a network on a video, in [0, 1], from its expected Dice of frames all over it.

    It is the mean expected Dice, times the ratio of Dice to expected Dice at corrected frames.
    """
    mean = float(np.mean(expected))
    prior = EXPECTATION_WEIGHT / len(dice) ** 2 * mean
    return min(1.0, mean * (sum(dice) + prior) / (sum(expected_there) + prior))


def spread_evenly(corrected: Sequence[T]) -> list[T]:
    """Choose at most `MAX_JUDGED` of the corrected frames, spread evenly over them."""
    if len(corrected) <= MAX_JUDGED:
        return list(corrected)
    last = len(corrected) - 1
    return [corrected[round((place + 0.5) * last / MAX_JUDGED)] for place in range(MAX_JUDGED)]


def model_reliability(
    session: Session,
    reader: ResizedFrames,
    runner: Runner,
    guide: MaskGuide,
    windows: Sequence[Window],
    encoded_cache: EncodedWindows,
    weights: str,
) -> float:
    """Judge the unguided network on the video of a session, in [0, 1]; see `reliability_from`. Raises as `Runner.run`.

    The session has at least one corrected or accepted frame, and `windows`, without guidance, keep each of them.
    `weights` is the digest of the network's by which scores are cached, empty to cache none.
    """
    cached: MutableMapping[Hashable, WindowScores] = reader.cache.scores if weights else {}
    judged = spread_evenly(session.vouched_frames())
    by_time = sorted(windows, key=lambda window: window.kept[0])
    chosen = [window for window in by_time if not set(judged).isdisjoint(window.kept)]
    chosen += [by_time[len(by_time) * quarter // 4] for quarter in QUARTERS]
    corrected_in = {window: [t for t in judged if t in window.kept] for window in chosen}
    keys = {window: (weights, window, guide.depends_on(frames)) for window, frames in corrected_in.items()}

    def prepare(window: Window) -> Inputs:
        return window_inputs(reader, window.frames, None, runner.device)

    missing = [window for window, key in keys.items() if key not in cached]
    for window, logits, _ in runner.run(missing, prepare, encoded_cache):
        of_frame = dict(zip(window.kept, logits, strict=True))
        truths = {t: resized_mask(session, t, runner.model.config.input_size) for t in corrected_in[window]}
        cached[keys[window]] = WindowScores(
            {t: dice_of_logits(of_frame[t][None], truth) for t, truth in truths.items()},
            {t: expected_dice(one) for t, one in of_frame.items()},
        )
    scores = [cached[key] for key in keys.values()]
    return reliability_from(
        [dice for one in scores for dice in one.dice.values()],
        [one.expected[t] for one in scores for t in one.dice],
        [expected for one in scores for expected in one.expected.values()],
    )
