"""A simulated annotator: how good do masks get after 1, 3, 5 corrections, beside baselines that do not learn?

It does what a person would do in the window: propose, take the frame the tool suggests, correct it (with the
true mask), fine-tune, propose again. Scores are over the frames that were NOT corrected.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vivim.distance import signed_distance
from vivim.errors import VivimError
from vivim.inference import ResizedFrames, guide_of, propose
from vivim.metrics import dice
from vivim.session import Session
from vivim.suggest import suggest_frame
from vivim.training.data import binary_mask, find_clips, pair_files

if TYPE_CHECKING:
    from vivim.network import Vivim


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


def true_masks(clip: Path) -> NDArray[np.uint8]:
    """Masks ``(T, H, W)`` uint8 of 0 and 1 of a clip folder, at their own size."""
    masks = []
    for _, path in pair_files(clip):
        with Image.open(path) as picture:
            masks.append(binary_mask(np.asarray(picture)))
    if len({mask.shape for mask in masks}) > 1:
        raise VivimError(f"The masks of {clip} have different sizes.")
    return np.stack(masks)


def interpolate(masks: dict[int, NDArray], frames: int) -> NDArray[np.bool_]:
    """Masks ``(frames, H, W)`` between known ones: signed distances mixed linearly, the ends held.

    `masks` maps a frame to its mask ``(H, W)``; there must be at least one.
    """
    known = sorted(masks)
    limit = float(max(masks[known[0]].shape))
    fields = {t: signed_distance(masks[t], limit) for t in known}
    out = np.empty((frames, *fields[known[0]].shape), bool)
    for t in range(frames):
        before = max((k for k in known if k <= t), default=known[0])
        after = min((k for k in known if k >= t), default=known[-1])
        share = 0.0 if before == after else (t - before) / (after - before)
        out[t] = (1 - share) * fields[before] + share * fields[after] > 0
    return out


def propagate(session: Session, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Corrected masks of a session carried along the flow to every frame ``(T, H, W)``."""
    guide = guide_of(session, ResizedFrames(session.video, size), size)
    height, width = session.masks.shape[1:]
    out = np.zeros(session.masks.shape, bool)
    for t in range(len(session)):
        distance, away = guide.distance(t)
        if np.isfinite(away):
            out[t] = cv2.resize(distance, (width, height), interpolation=cv2.INTER_LINEAR) > 0
    return out


def simulate_clip(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None]
) -> Iterator[Result]:
    """Run the loop on one clip; yields at each number of corrections asked for."""
    truth = true_masks(clip)
    with (
        tempfile.TemporaryDirectory(prefix="vivim-simulate-") as folder,
        Session.open(
            clip / "frames", folder=Path(folder) / "session", author="simulated annotator"
        ) as session,
    ):
        if session.masks.shape != truth.shape:
            raise VivimError(
                f"Frames and masks of {clip} differ in size: {session.masks.shape} and {truth.shape}."
            )
        current, promoted, mark = model, False, time.monotonic()
        _propose(session, current, device)
        if 0 in corrections:
            yield _result(clip, session, truth, model, 0, promoted, time.monotonic() - mark)
        for number in range(1, max(corrections, default=0) + 1):
            mark = time.monotonic()
            suggested = suggest_frame(session)
            if suggested is None:
                report(f"{clip.name}: every frame is corrected after {number - 1} corrections")
                return
            session.correct(suggested, truth[suggested])
            current, promoted = _finetune(session, model, device)
            _propose(session, current, device)
            seconds = time.monotonic() - mark
            report(f"{clip.name}: correction {number} at frame {suggested}, {seconds:.1f} s")
            if number in corrections:
                yield _result(clip, session, truth, model, number, promoted, seconds)


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


def _result(
    clip: Path, session: Session, truth: NDArray, model: Vivim, number: int, promoted: bool, seconds: float
) -> Result:
    corrected = session.frames_with("corrected")
    rest = [t for t in range(len(session)) if t not in set(corrected)]

    def mean(masks: NDArray) -> float:
        return float(np.mean([dice(np.asarray(masks[t]) > 0, truth[t] > 0) for t in rest])) if rest else 1.0

    if corrected:
        interpolated = mean(interpolate({t: truth[t] for t in corrected}, len(truth)))
        propagated = mean(propagate(session, model.config.input_size))
    else:
        interpolated = propagated = float("nan")
    return Result(
        f"{clip.parent.name}/{clip.name}", len(truth), number, tuple(corrected), mean(session.masks),
        interpolated, propagated, promoted, round(seconds, 2),
    )  # fmt: skip


def simulate(
    dataset: str | Path,
    model: Vivim,
    corrections: Sequence[int] = (1, 3, 5),
    *,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
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
    report : callable
        Is given a line of text as the work goes on.

    Yields
    ------
    Result
        One for every clip and number of corrections.

    Raises
    ------
    VivimError
        If the dataset has no clips or frames and masks do not match.
    """
    for clip in find_clips(Path(dataset), leave_out):
        yield from simulate_clip(clip, model, sorted(set(corrections)), device, report)


def summary(results: Sequence[Result]) -> dict:
    """Results as the object that ``vivim simulate --json`` prints; means are over clips."""
    mean = {}
    for number in sorted({r.corrections for r in results}):
        rows = [r for r in results if r.corrections == number]
        mean[str(number)] = {
            key: _number(np.mean([getattr(r, key) for r in rows]))
            for key in ("dice", "interpolation_dice", "propagation_dice")
        }
    clips = [
        {key: _number(value) if isinstance(value, float) else value for key, value in asdict(r).items()}
        for r in results
    ]
    return {"clips": clips, "mean": mean}


def _number(value: float) -> float | None:
    """A number JSON can hold: rounded, None where there is none."""
    return round(float(value), 4) if np.isfinite(value) else None


def table(results: Sequence[Result]) -> str:
    """Results as a table for people."""
    lines = [
        f"{'clip':32} {'corrections':>11} {'Dice':>6} {'interpolated':>12} {'propagated':>10} {'seconds':>8}"
    ]
    for r in results:
        lines.append(
            f"{r.clip[-32:]:32} {r.corrections:>11} {r.dice:>6.3f} {r.interpolation_dice:>12.3f} "
            f"{r.propagation_dice:>10.3f} {r.seconds:>8.1f}"
        )
    for number, row in summary(results)["mean"].items():
        shown = (f"{row[key]:.3f}" if row[key] is not None else "-" for key in row)
        mine, interpolated, propagated = shown
        lines.append(f"{'mean over clips':32} {number:>11} {mine:>6} {interpolated:>12} {propagated:>10}")
    return "\n".join(lines)
