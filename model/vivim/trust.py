"""How far to trust masks carried along the motion, beside what the network sees: a number chosen by held-out frames.

Where a lesion creeps, a corrected mask carried to the next frames is hard to beat; where it jumps, it is worthless.
Which of the two a video is, its corrected frames tell: each is predicted from the OTHERS, with several weights of the
carried mask, and the weight that did best is used for the frames nobody has corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from vivim.preprocess import agreement

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

TRUSTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Weights tried: what is added to the logits is the weight times the squashed signed distance of the carried mask."""

UNGUIDED = -1.0
"""What stands for: the carried masks mislead here, do not even show them to the network."""

AGREES = 0.6
"""Dice from which the network alone counts as right about the only corrected frame."""

GAIN = 0.02
"""Held-out Dice by which adding the carried mask must do better than only showing it to the network."""

MISLED = 0.03
"""Held-out Dice by which the network must do better without any guidance for it to be left away.

A corrected frame judged by the others is farther from them than most frames will be from any: held out, guidance looks
worse than it is in use.
"""

MAX_JUDGES = 6
"""Corrected frames asked, spread evenly; more cost time and change little."""


def mixed(logits: Tensor, guide: Tensor | None, trust: float) -> Tensor:
    """Logits ``(T, C, H, W)`` with the guide's first plane added; `guide` is ``(T, 2, H, W)`` or None.

    The carried mask is one plane whatever the number of classes: it says where something is, and the network says
    which class. Added to all classes alike, it moves the outline against the background and never exchanges classes.
    """
    return logits if guide is None or not trust else logits + trust * guide[:, :1]


def best_trust(scores: Mapping[float, Mapping]) -> float:
    """The weight with the best mean score, if it gains `GAIN` over none, else 0; the smallest of equals."""
    means = {trust: round(float(np.mean(list(scores[trust].values()))), 4) for trust in TRUSTS}
    best = max(TRUSTS, key=lambda trust: (means[trust], -trust))
    return best if means[best] - means[0.0] >= GAIN else 0.0


def session_key(session: Session) -> str:
    """What a model's provenance says of a session: the beginning of the digest of its video's content."""
    return session.identity[:12]


def stored_trust(session: Session, model: Vivim) -> float | None:
    """The weight a tuned model brings from its held-out rounds; None for sessions it has not learned from."""
    if session_key(session) not in model.provenance.get("learned_from", []):
        return None
    trust = model.provenance.get("trust")
    return None if trust is None else float(trust)


def judges(session: Session) -> list[int]:
    """The corrected frames that `calibrate` asks."""
    known = session.frames_with("corrected", "accepted")
    count = min(len(known), MAX_JUDGES)
    return [known[i] for i in np.unique(np.linspace(0, len(known) - 1, count).astype(int))]


def calibrate(
    session: Session,
    predict: Callable[[int, bool], tuple[Tensor, Tensor | None, np.ndarray]],
) -> float:
    """Choose the weight for a session from its corrected frames.

    `UNGUIDED` where the network does better without any guidance, by `MISLED`. With a single corrected frame
    nothing can be compared: guidance is used if the network alone had that frame wrong.

    Parameters
    ----------
    predict : callable
        ``predict(t, guided)`` gives, of frame `t`, logits ``(1, C, H, W)``, guide planes ``(1, 2, H, W)`` (of which the
        second is not looked at; None where not `guided`, that is by all corrected frames but `t`) and
        the true mask ``(H, W)`` of frame `t`, all at the network's input size.
    """
    known = session.frames_with("corrected", "accepted")
    if not known:
        return 0.0
    if len(known) == 1:
        logits, _, true = predict(known[0], False)
        return UNGUIDED if agreement(logits, true) >= AGREES else 0.0
    scores: dict[float, dict[int, float]] = {trust: {} for trust in TRUSTS}
    alone: list[float] = []
    for t in judges(session):
        logits, _, true = predict(t, False)
        alone.append(agreement(logits, true))
        logits, planes, true = predict(t, True)
        for trust in TRUSTS:
            scores[trust][t] = agreement(mixed(logits, planes, trust), true)
    best = best_trust(scores)
    guided = float(np.mean(list(scores[best].values())))
    return UNGUIDED if float(np.mean(alone)) - guided > MISLED else best
