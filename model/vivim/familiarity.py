"""How well a network by itself knows what a video shows: how right it is at frames that a person has corrected.

A network that finds those lesions without help deserves to be heard on other frames; one that finds nothing of them,
in a kind of video that it never saw, would only take away from the masks that are carried along the motion.
"""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vivim.given import ResizedFrames, resized_mask, window_inputs
from vivim.guide import MaskGuide
from vivim.predict import Inputs, Runner
from vivim.preprocess import agreement
from vivim.recall import EncodedWindows
from vivim.windows import Window

if TYPE_CHECKING:
    from vivim.session import Session

T = TypeVar("T")

MOST = 4
"""Corrected frames that are looked at, spread over all of them."""


def looked_at(corrected: Sequence[T]) -> list[T]:
    """At most `MOST` of the corrected frames, spread evenly over them."""
    if len(corrected) <= MOST:
        return list(corrected)
    return [corrected[round((place + 0.5) * (len(corrected) - 1) / MOST)] for place in range(MOST)]


def familiarity(
    session: Session,
    reader: ResizedFrames,
    runner: Runner,
    guide: MaskGuide,
    windows: Sequence[Window],
    remembered: EncodedWindows,
    weights: str,
) -> float:
    """Mean Dice of the network without guidance at corrected frames of a session, in [0, 1].

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
        Windows without guidance that keep the corrected frames, each one of them.
    remembered : EncodedWindows
        Where encoded windows are kept.
    weights : str
        What tells this network from others, for what was found out before to be remembered; empty to forget it.

    Raises
    ------
    Stopped, DeviceError
        As `Runner.run`.
    """
    found: MutableMapping[Hashable, float] = reader.recall.familiar if weights else {}
    judged = looked_at(session.frames_with("corrected", "accepted"))
    holding = {t: window for window in windows for t in judged if t in window.kept}
    keys = {t: (weights, holding[t].frames, guide.depends_on([t])) for t in judged}

    def prepare(window: Window) -> Inputs:
        return window_inputs(reader, window.frames, None, runner.device)

    asked = list(dict.fromkeys(holding[t] for t in judged if keys[t] not in found))
    for window, logits, _ in runner.run(asked, prepare, remembered):
        for t, one in zip(window.kept, logits, strict=True):
            if t in keys:
                truth = resized_mask(session, t, runner.model.config.input_size)
                found[keys[t]] = agreement(one[None], truth)
    return float(np.mean([found[key] for key in keys.values()]))
