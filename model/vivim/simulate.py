"""A simulated annotator: how good do masks get after 1, 3, 5 corrections, beside baselines that do not learn?

It does what a person would do in the window: propose, take the frame the tool suggests, correct it (with the
true mask), fine-tune, propose again. Scores are over the frames that were NOT corrected. To see what the suggestions
are worth, the same can be done with evenly spaced frames.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.distance import signed_distance
from vivim.errors import VivimError
from vivim.inference import ResizedFrames, guide_of, propose
from vivim.metrics import label_dice
from vivim.session import Session
from vivim.suggest import suggestions
from vivim.training.data import binary_mask, find_clips, pair_files

if TYPE_CHECKING:
    from vivim.network import Vivim

CHOICES = ("queue", "even", "both")
"""Who chooses the frames: the tool's queue, one after the other; or somebody who knows beforehand how many there will
be, and spaces them evenly; or each of the two in turn, to be compared."""


@dataclass(frozen=True)
class Result:
    """Mean Dice over the frames of one clip that were not corrected, after some corrections."""

    clip: str
    frames: int
    corrections: int
    corrected: tuple[int, ...]
    dice: float
    interpolation_dice: float
    """Signed distances of the same corrected masks, interpolated linearly in time."""
    propagation_dice: float
    """The same corrected masks carried along the optical flow."""
    promoted: bool
    """Whether the last fine-tune did better on held-out corrected frames and was kept."""
    seconds: float
    """Machine time since the previous correction."""
    mean_seconds: float
    """Machine time per correction so far; that of the first proposal where nothing is corrected yet."""
    history: tuple[float, ...]
    """`dice` after 0, 1, 2, ... corrections; of evenly spaced frames after these corrections only."""
    choose: str = "queue"
    """Who chose the frames: ``"queue"`` or ``"even"``."""


def true_masks(clip: Path, classes: int = 1) -> NDArray[np.uint8]:
    """Masks ``(T, H, W)`` uint8 of a clip folder, at their own size.

    With one class 0 and 1; with several the labels as they are, those beyond the classes being background.
    """
    masks = []
    for _, path in pair_files(clip):
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        masks.append(binary_mask(pixels) if classes == 1 else np.where(pixels > classes, 0, pixels))
    if len({mask.shape for mask in masks}) > 1:
        raise VivimError(f"The masks of {clip} have different sizes.")
    return np.stack(masks).astype(np.uint8)


def of_each_class(classes: int, fields: Callable[[int], NDArray]) -> NDArray[np.uint8]:
    """Label masks from what ``fields(label)`` gives, which is positive inside: the label that is most so."""
    stacked = np.stack([fields(label) for label in range(1, classes + 1)])
    return np.where(stacked.max(0) > 0, stacked.argmax(0) + 1, 0).astype(np.uint8)


def interpolate(masks: dict[int, NDArray], frames: int) -> NDArray[np.floating]:
    """Distances ``(frames, H, W)`` into the masks between known ones: mixed linearly, the ends held.

    `masks` maps a frame to its mask ``(H, W)``; there must be at least one.
    """
    known = sorted(masks)
    limit = float(max(masks[known[0]].shape))
    fields = {t: signed_distance(masks[t], limit) for t in known}
    out = np.empty((frames, *fields[known[0]].shape), np.float32)
    for t in range(frames):
        before = max((k for k in known if k <= t), default=known[0])
        after = min((k for k in known if k >= t), default=known[-1])
        share = 0.0 if before == after else (t - before) / (after - before)
        out[t] = (1 - share) * fields[before] + share * fields[after]
    return out


def propagate(session: Session, size: tuple[int, int], label: int | None = None) -> NDArray[np.floating]:
    """Distances into the corrected masks of a session, or one label of them, carried along the flow ``(T, H, W)``."""
    guide = guide_of(session, ResizedFrames(session, size), size, label=label)
    height, width = session.masks.shape[1:]
    out = np.zeros(session.masks.shape, np.float32)
    for t in range(len(session)):
        distance, away = guide.distance(t)
        if np.isfinite(away):
            out[t] = cv2.resize(distance, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


@contextmanager
def new_session(clip: Path, classes: int) -> Iterator[tuple[Session, NDArray[np.uint8]]]:
    """An empty session of a clip that leaves nothing behind, and the clip's true masks ``(T, H, W)``."""
    truth = true_masks(clip, classes)
    frames = pair_files(clip)[0][0].parent
    with (
        tempfile.TemporaryDirectory(prefix="vivim-simulate-") as folder,
        Session.open(frames, folder=Path(folder) / "session", author="simulated annotator") as session,
    ):
        if session.masks.shape != truth.shape:
            raise VivimError(
                f"Frames and masks of {clip} differ in size: {session.masks.shape} and {truth.shape}."
            )
        yield session, truth


def simulate_clip(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None]
) -> Iterator[Result]:
    """Run the loop on one clip, with the queue; yields at each number of corrections asked for."""
    with new_session(clip, model.config.num_classes) as (session, truth):
        current, promoted, mark = model, False, time.monotonic()
        _propose(session, current, device)
        spent, history = [time.monotonic() - mark], [_mean_dice(session, truth, session.masks)]
        if 0 in corrections:
            yield _result(clip, session, truth, model, promoted, spent, history)
        for number in range(1, max(corrections, default=0) + 1):
            mark = time.monotonic()
            queue = suggestions(session, 1)
            if not queue:
                report(f"{clip.name}: every frame is corrected after {number - 1} corrections")
                return
            session.correct(queue[0].frame, truth[queue[0].frame])
            current, promoted = _finetune(session, model, device)
            _propose(session, current, device)
            spent.append(time.monotonic() - mark)
            history.append(_mean_dice(session, truth, session.masks))
            report(
                f"{clip.name}: correction {number} at frame {queue[0].frame} ({queue[0].reason}), "
                f"Dice {history[-1]:.3f}, {spent[-1]:.1f} s"
            )
            if number in corrections:
                yield _result(clip, session, truth, model, promoted, spent, history)


def evenly(frames: int, number: int) -> list[int]:
    """The middles of `number` stretches of equal length."""
    return [int((place + 0.5) * frames / number) for place in range(number)]


def simulate_even(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None]
) -> Iterator[Result]:
    """For each number of corrections: that many evenly spaced frames at once, from the beginning."""
    for number in corrections:
        with new_session(clip, model.config.num_classes) as (session, truth):
            mark = time.monotonic()
            chosen = evenly(len(truth), min(number, len(truth)))
            for t in chosen:
                session.correct(t, truth[t])
            current, promoted = _finetune(session, model, device)
            _propose(session, current, device)
            spent, score = time.monotonic() - mark, _mean_dice(session, truth, session.masks)
            report(f"{clip.name}: evenly spaced frames {chosen}, Dice {score:.3f}, {spent:.1f} s")
            yield _result(clip, session, truth, model, promoted, [spent], [score], "even")


def _propose(session: Session, model: Vivim, device: str) -> None:
    for _ in propose(session, model, device=device):
        pass


def _finetune(session: Session, base: Vivim, device: str) -> tuple[Vivim, bool]:
    """The model to go on with: tuned on all corrections so far where that helped on held-out ones, else `base`."""
    from vivim.finetune.run import Trained, run

    if len(session.frames_with("corrected", "accepted")) < 2:
        return base, False  # nothing could be held out, so nothing can be promoted
    for event in run([session], base, device=device):
        if isinstance(event, Trained) and event.promoted:
            event.model.version = f"{base.version}-tuned"
            return event.model, True
    return base, False


def _mean_dice(session: Session, truth: NDArray, masks: Any) -> float:
    """Mean Dice of label masks ``(T, H, W)`` over the frames that were not corrected; 1 if there are none."""
    corrected = set(session.frames_with("corrected"))
    rest = [t for t in range(len(session)) if t not in corrected]
    return float(np.mean([label_dice(np.asarray(masks[t]), truth[t]) for t in rest])) if rest else 1.0


def _result(
    clip: Path,
    session: Session,
    truth: NDArray,
    model: Vivim,
    promoted: bool,
    spent: list[float],
    history: list[float],
    choose: str = "queue",
) -> Result:
    corrected = session.frames_with("corrected")
    interpolated = propagated = float("nan")
    if corrected:
        classes, size = model.config.num_classes, model.config.input_size
        between = of_each_class(
            classes, lambda label: interpolate({t: truth[t] == label for t in corrected}, len(truth))
        )
        interpolated = _mean_dice(session, truth, between)
        propagated = _mean_dice(
            session, truth, of_each_class(classes, lambda label: propagate(session, size, label))
        )
    return Result(
        clip=f"{clip.parent.name}/{clip.name}",
        frames=len(truth),
        corrections=len(corrected),
        corrected=tuple(corrected),
        dice=history[-1],
        interpolation_dice=interpolated,
        propagation_dice=propagated,
        promoted=promoted,
        seconds=spent[-1],
        mean_seconds=float(np.mean(spent[1:] or spent)),
        history=tuple(history),
        choose=choose,
    )


def simulate(
    dataset: str | Path,
    model: Vivim,
    corrections: Sequence[int] = (1, 3, 5),
    *,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
    choose: str = "queue",
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Simulate an annotator on every clip of a dataset.

    Parameters
    ----------
    dataset : str or Path
        A folder of clips, each with ``frames/`` and ``masks/`` of equal stems, or one such clip.
    model : Vivim
        The model to start from; it is not changed.
    corrections : sequence of int
        Numbers of corrected frames to report at; 0 reports the masks before any correction.
    choose : str
        Who chooses the frames, one of `CHOICES`.
    report : callable
        Is given a line of text as the work goes on.

    Yields
    ------
    Result
        One for every clip, number of corrections and chooser.

    Raises
    ------
    VivimError
        If the dataset has no clips or frames and masks do not match.
    ValueError
        If `choose` is unknown.
    """
    if choose not in CHOICES:
        raise ValueError(f"Unknown way to choose frames {choose!r}; choose one of {', '.join(CHOICES)}.")
    for clip in find_clips(Path(dataset), leave_out):
        for name, loop in (("queue", simulate_clip), ("even", simulate_even)):
            if choose in (name, "both"):
                yield from loop(clip, model, sorted(set(corrections)), device, report)
