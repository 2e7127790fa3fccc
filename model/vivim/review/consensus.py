"""One mask from those of several readers, and the order in which a person decides about them.

A reader counts in a frame that he has vouched for and not tagged ``"ignore"``. A frame in which fewer than two
readers count has no consensus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError, VivimError
from vivim.imaging.metrics import label_dice
from vivim.review.agreement import names_of, shared_classes

if TYPE_CHECKING:
    from vivim.session import Session

METHODS = ("staple", "majority")
AUTHOR = "consensus of "
"""Begins the name of the author of its proposals. The readers' names follow."""
STAPLE_ROUNDS = 100
"""STAPLE ends by itself after about ten rounds, unless readers have nothing in common."""


@dataclass(frozen=True)
class ConsensusFrame:
    """What readers together say of a frame."""

    frame: int
    mask: NDArray[np.uint8]
    """``(H, W)`` classes."""
    disagreement: float
    """1 minus the mean Dice of all pairs of readers, in [0, 1]. 0 where all drew nothing."""
    priority: float
    """Disagreement times 1 plus the model's mean uncertainty in bits, where the readers' sessions know that."""


def consensus(sessions: Sequence[Session], method: str = "staple") -> NDArray[np.uint8]:
    """Combine what several readers drew on one video.

    Parameters
    ----------
    sessions : sequence of Session
        At least two, all of the same video. They are only read.
    method : str
        ``"staple"`` weighs readers by how well each fits the others (Warfield et al., IEEE TMI 2004), frame by frame
        and class by class. It needs the extra ``review``. ``"majority"`` takes the class of each pixel that more than
        half of the readers gave it, else background.

    Returns
    -------
    ndarray
        ``(T, H, W)`` uint8 classes. Empty in frames that fewer than two readers have vouched for.

    Raises
    ------
    SessionError
        If the sessions are not of one video, or name their classes differently.
    VivimError
        If SimpleITK is not installed.
    ValueError
        If the method is unknown, or there are fewer than two sessions.
    """
    masks = np.zeros(sessions[0].shape, np.uint8)
    for one in consensus_frames(sessions, method):
        masks[one.frame] = one.mask
    return masks


def consensus_frames(sessions: Sequence[Session], method: str = "staple") -> Iterator[ConsensusFrame]:
    """Yield each frame that has a consensus, in order. Raises as `consensus`, at the first frame."""
    names_of(sessions)
    shared_classes(sessions)
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}; choose one of {', '.join(METHODS)}.")
    combine = staple if method == "staple" else majority
    vouched = [set(session.vouched_frames()) for session in sessions]
    uncertainty = np.stack([session.uncertainty for session in sessions])
    for t in range(len(sessions[0])):
        counting = [session for session, frames in zip(sessions, vouched, strict=True) if t in frames]
        if len(counting) > 1:
            masks = [session.masks[t] for session in counting]
            disagreement = 1 - float(np.mean([label_dice(a, b) for a, b in combinations(masks, 2)]))
            known = uncertainty[np.isfinite(uncertainty[:, t]), t]
            priority = disagreement * (1 + (float(known.mean()) if known.size else 0.0))
            yield ConsensusFrame(t, combine(masks), disagreement, priority)


def propose_consensus(
    sessions: Sequence[Session],
    target: Session,
    method: str = "staple",
    readers: Sequence[str] | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[ConsensusFrame]:
    """Propose the consensus of readers to the one who decides, as a model would.

    The proposals are written through the edit gate: frames that a person has corrected or accepted in `target` stay.
    Their author is ``"consensus of a, b"`` with the readers' names. Their uncertainty is the priority.

    Returns
    -------
    list of ConsensusFrame
        The frames proposed, those first that most need a person's decision.

    Raises
    ------
    SessionError
        As `consensus`; also if `target` is a reader's own session, or of another video, or cannot be written.
    """
    names = names_of(sessions, readers)
    if any(target.folder.resolve() == session.folder.resolve() for session in sessions):
        raise SessionError(
            "The consensus needs a session of its own. Name a reader whose masks it is not made of."
        )
    target.take_classes(shared_classes([*sessions, target]))
    author, proposed = AUTHOR + ", ".join(names), []
    for one in consensus_frames(sessions, method):
        if target.propose(one.frame, one.mask, author, uncertainty=one.priority):
            proposed.append(one)
        progress(one.frame + 1, len(target))
    return sorted(proposed, key=lambda one: (-one.priority, one.frame))


def independent(sessions: dict[str, Session]) -> dict[str, Session]:
    """Sessions of readers who worked by themselves: they vouched for a frame, and no consensus was proposed to them."""
    return {
        name: session
        for name, session in sessions.items()
        if session.vouched_frames() and not any(one.author.startswith(AUTHOR) for one in session.entries())
    }


def majority(masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Combine masks ``(H, W)``: each pixel gets the class that more than half of them give it, else 0."""
    stack, decided = np.stack(masks), np.zeros_like(masks[0])
    for label in _labels(masks):
        decided[(stack == label).sum(axis=0) * 2 > len(masks)] = label
    return decided


def staple(masks: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Combine masks ``(H, W)`` by STAPLE: each pixel gets its likeliest class, if that is likelier than not.

    Raises a `VivimError` if SimpleITK is not installed.
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise VivimError(
            "STAPLE needs SimpleITK. Install it: pip install 'napari-vivim[review]'. Or take the majority instead."
        ) from error
    decided, best = np.zeros_like(masks[0]), np.full(masks[0].shape, 0.5)
    for label in _labels(masks):
        drawn = [mask == label for mask in masks]
        if all(np.array_equal(drawn[0], other) for other in drawn[1:]):
            probability = drawn[0].astype(float)  # the filter divides by nothing where all is lesion
        else:
            images = [sitk.GetImageFromArray(one.astype(np.uint8)) for one in drawn]
            probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0, 1.0, STAPLE_ROUNDS))
        likelier = probability > best
        decided[likelier], best = label, np.maximum(best, probability)
    return decided


def _labels(masks: Sequence[NDArray[np.uint8]]) -> list[int]:
    return [int(label) for label in np.unique(np.stack(masks)) if label]
