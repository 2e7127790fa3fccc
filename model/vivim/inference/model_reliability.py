"""How well a network by itself knows what a video shows: how right it is at frames that a person has corrected.

A network that finds those lesions without help deserves to be heard on other frames; one that finds nothing of them,
in a kind of video that it never saw, would only take away from the masks that are carried along the motion. A person
corrects the frames first that the network is least sure of, and is told little by one of them: how right it was is
held against how right it expected to be, there and over the video.
"""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from torch import Tensor

from vivim.inference.batch_runner import Inputs, Runner
from vivim.inference.feature_cache import Answers, EncodedWindows
from vivim.inference.session_inputs import ResizedFrames, resized_mask, window_inputs
from vivim.inference.sliding_windows import Window
from vivim.network.preprocessing import dice_of_logits
from vivim.propagation.confidence import FEWEST
from vivim.propagation.mask_propagator import MaskGuide

if TYPE_CHECKING:
    from vivim.session import Session

T = TypeVar("T")

MOST = 4
"""Corrected frames that are looked at, spread over all of them."""

EXPECTED = 0.1
"""What its own expectation weighs beside one corrected frame; beside n of them, 1 / n² as much."""

QUARTERS = (1, 3)
"""Where else in the video windows are looked at for how sure the network is, in quarters of its length."""


def certainty(logits: Tensor) -> float:
    """Dice that a network expects of its own mask, in [0, 1].

    That is 2 Σ p m / Σ (p + m) over its probabilities p and mask m of one frame's logits ``(C, H, W)``; 1 where the
    mask is smaller than `vivim.propagation.confidence.FEWEST` pixels, as where it finds nothing.
    """
    inside = logits.amax(dim=0).float().sigmoid()
    mask = inside > 0.5
    size = int(mask.sum())
    return 2 * float(inside[mask].sum()) / (float(inside.sum()) + size) if size >= FEWEST else 1.0


def reliability_from(right: Sequence[float], sure_there: Sequence[float], sure: Sequence[float]) -> float:
    """How well a network knows a video, in [0, 1].

    Parameters
    ----------
    right, sure_there : sequence of float
        Its Dice at corrected frames, and its `certainty` of the same.
    sure : sequence of float
        Its certainty of frames all over the video; it is expected to be right by that, as far as it has been so far.
    """
    expected = float(np.mean(sure))
    weight = EXPECTED / len(right) ** 2
    kept_its_word = (sum(right) + weight * expected) / (sum(sure_there) + weight * expected)
    return min(1.0, expected * kept_its_word)


def looked_at(corrected: Sequence[T]) -> list[T]:
    """At most `MOST` of the corrected frames, spread evenly over them."""
    if len(corrected) <= MOST:
        return list(corrected)
    return [corrected[round((place + 0.5) * (len(corrected) - 1) / MOST)] for place in range(MOST)]


def model_reliability(
    session: Session,
    reader: ResizedFrames,
    runner: Runner,
    guide: MaskGuide,
    windows: Sequence[Window],
    encoded_cache: EncodedWindows,
    weights: str,
) -> float:
    """How well the network without guidance knows the video of a session, in [0, 1]; see `reliability_from`.

    Parameters
    ----------
    session : Session
        With at least one corrected or accepted frame.
    reader : ResizedFrames
        Its frames.
    runner : Runner
        Runs the network.
    guide : MaskGuide
        Knows the corrected masks.
    windows : sequence of Window
        Windows without guidance, each corrected frame kept by one of them.
    remembered : EncodedWindows
        Where encoded windows are kept.
    weights : str
        What tells this network from others, for what was found out before to be remembered; empty to forget it.

    Raises
    ------
    Stopped, DeviceError
        As `Runner.run`.
    """
    found: MutableMapping[Hashable, Answers] = reader.recall.reliability if weights else {}
    judged = looked_at(session.vouched_frames())
    by_time = sorted(windows, key=lambda window: window.kept[0])
    asked = [window for window in by_time if not set(judged).isdisjoint(window.kept)]
    asked += [by_time[len(by_time) * quarter // 4] for quarter in QUARTERS]
    corrected_in = {window: [t for t in judged if t in window.kept] for window in asked}
    keys = {window: (weights, window, guide.depends_on(mine)) for window, mine in corrected_in.items()}

    def prepare(window: Window) -> Inputs:
        return window_inputs(reader, window.frames, None, runner.device)

    missing = [window for window, key in keys.items() if key not in found]
    for window, logits, _ in runner.run(missing, prepare, encoded_cache):
        said = dict(zip(window.kept, logits, strict=True))
        truths = {t: resized_mask(session, t, runner.model.config.input_size) for t in corrected_in[window]}
        found[keys[window]] = Answers(
            {t: dice_of_logits(said[t][None], truth) for t, truth in truths.items()},
            {t: certainty(one) for t, one in said.items()},
        )
    answers = [found[key] for key in keys.values()]
    return reliability_from(
        [right for one in answers for right in one.right.values()],
        [one.sure[t] for one in answers for t in one.right],
        [sure for one in answers for sure in one.sure.values()],
    )
