"""Score a model without any correction, clip by clip, by every score that papers of this field report.

A frame's scores are averaged over its clip, clips over the data set, so that a long clip counts as much as a short one.
Several classes count as one: lesion against background.

Frames without a lesion stay in: overlap scores (Dice, Jaccard, F, precision, recall) are 1 there if nothing was
predicted and 0 if something was, the Hausdorff distance is 0 or the picture's diagonal. Their number is reported beside
the scores, and the number of those in which something was predicted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vivim.devices import choose_device
from vivim.errors import VivimError
from vivim.imaging import metrics
from vivim.imaging.resize import resize_frame
from vivim.inference.proposals import CLIP_LENGTH
from vivim.network import Vivim
from vivim.network.preprocessing import normalise, stack_frames
from vivim.training.datasets import Part, find_clips, pair_files, read_pair, split_label

SPECK = 0.002
"""Part of the pixels up to which a prediction counts as nothing."""

RESAMPLES = 2000
"""Draws of clips for the confidence intervals."""

OVERLAPS: dict[str, Callable[[NDArray, NDArray], float]] = {
    "dice": metrics.dice,
    "jaccard": metrics.jaccard,
    "precision": metrics.precision,
    "recall": metrics.recall,
    "specificity": metrics.specificity,
    "f_measure": metrics.f_measure,
    "hd95": metrics.hausdorff95,
}
"""Scores of masks cut at 0.5."""

SCORES = (
    *OVERLAPS,
    "mae",
    "s_measure",
    "e_measure",
    "max_dice",
    "max_jaccard",
    "max_specificity",
    "consistency",
)
"""All scores, in the order of the report."""


@dataclass(frozen=True)
class FrameScore:
    """Scores of one frame, with the curves of `vivim.imaging.metrics.threshold_curves`."""

    frame: int
    scores: dict[str, float]
    curves: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip: means over its frames, and those of each frame."""

    clip: str
    folder: Path
    frames: list[FrameScore]
    scores: dict[str, float | None]
    empty_frames: int
    """Frames without a lesion."""
    false_alarms: int
    """Those of them in which more than `SPECK` of the pixels were predicted."""
    misses: int
    """Frames with a lesion in which no more than that was predicted."""
    presence: list[tuple[float, bool]]
    """For each frame the probability of a lesion, and whether there is one. Empty if the model gives no probability."""
    label: int | None = None
    """The label of the mask pictures that counts, None for any."""
    window: int = CLIP_LENGTH
    part: Part = "all"
    """As for `predict_clip`."""


def predict_clip(
    model: Vivim,
    folder: Path,
    device: torch.device,
    label: int | None = None,
    window: int = CLIP_LENGTH,
    part: Part = "all",
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8], float | None]]:
    """Probability ``(H, W)`` float32, true mask ``(H, W)`` uint8 and probability of a lesion of every frame, in order.

    With a `window` of 1 the frames are independent pictures. The last is None if the model gives none.
    """
    pairs = pair_files(folder, part=part)
    for start in range(0, len(pairs), window):
        frames, masks = zip(*(_read(pair, label) for pair in pairs[start : start + window]), strict=True)
        x = stack_frames([resize_frame(frame, model.config.input_size) for frame in frames]).to(device)
        with torch.inference_mode():
            there: Sequence[float | None] = [None] * len(masks)
            if model.presence is None:
                logits = model(normalise(x)[None])[0].float()
            else:
                features = model.features(normalise(x)[None])
                logits = model.decode_where_present(features, model.config.input_size).float()
                there = model.presence(features).sigmoid().tolist()
            for one, mask, presence in zip(logits.amax(1, keepdim=True), masks, there, strict=True):
                own = F.interpolate(one[None], size=mask.shape, mode="bilinear", align_corners=False)
                yield own[0, 0].sigmoid().cpu().numpy(), mask, presence


def _read(pair: tuple[Path, Path], label: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One frame ``(H, W, 3)`` and its mask ``(H, W)``, at their own size."""
    frame, mask = read_pair(pair, label)
    if frame.shape[:2] != mask.shape:
        raise VivimError(f"{pair[0]} is {frame.shape[:2]} and its mask {mask.shape}: make them of one size.")
    return frame, mask


def frame_scores(number: int, probability: NDArray, true: NDArray) -> FrameScore:
    """All scores of one frame but the temporal one."""
    predicted = probability > 0.5
    scores = {name: score(predicted, true) for name, score in OVERLAPS.items()}
    scores["mae"] = metrics.mean_absolute_error(probability, true)
    scores["s_measure"] = metrics.s_measure(probability, true)
    scores["e_measure"] = metrics.e_measure(probability, true)
    return FrameScore(number, scores, metrics.threshold_curves(probability, true))


def evaluate_clip(
    folder: Path,
    model: Vivim,
    device: torch.device,
    label: int | None = None,
    window: int = CLIP_LENGTH,
    part: Part = "all",
) -> ClipScore:
    """Score one clip folder; see `predict_clip`."""
    frames: list[FrameScore] = []
    consistencies: list[float] = []
    empty = alarms = misses = 0
    presence: list[tuple[float, bool]] = []
    before: tuple[NDArray, NDArray] | None = None
    for number, (probability, true, there) in enumerate(
        predict_clip(model, folder, device, label, window, part)
    ):
        frames.append(frame_scores(number, probability, true))
        predicted = probability > 0.5
        found = predicted.mean() > SPECK
        if true.any():
            misses += int(not found)
        else:
            empty, alarms = empty + 1, alarms + int(found)
        if there is not None:
            presence.append((there, bool(true.any())))
        if window > 1 and before is not None and before[0].shape == predicted.shape:
            consistencies.append(abs(metrics.dice(before[0], predicted) - metrics.dice(before[1], true)))
        before = predicted, true
    scores: dict[str, float | None] = dict.fromkeys(SCORES)
    for name in frames[0].scores:
        scores[name] = float(np.mean([frame.scores[name] for frame in frames]))
    for name in frames[0].curves:
        scores[f"max_{name}"] = float(np.mean([frame.curves[name] for frame in frames], axis=0).max())
    scores["consistency"] = 1 - float(np.mean(consistencies)) if consistencies else None
    name = f"{folder.parent.name}/{folder.name}"
    return ClipScore(name, folder, frames, scores, empty, alarms, misses, presence, label, window, part)


def evaluate(
    dataset: str | Path,
    model: Vivim,
    *,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
    stills: bool = False,
    part: Part = "all",
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[ClipScore]:
    """Score a model on every clip of a data set, nothing corrected.

    Parameters
    ----------
    dataset : str or Path
        A folder of clips, each with ``frames/`` and ``masks/`` of equal stems, or one such clip. ``FOLDER:LABEL`` takes
        one label of label pictures.
    model : Vivim
        Any Vivim. It is moved to the device and put into evaluation mode.
    stills : bool
        Whether frames are independent pictures, which go through the network one by one.
    part : str
        ``"kept out"`` takes only what the starter was never trained on, see `vivim.training.datasets`.
    report : callable
        Called with a line of text as the work goes on.

    Yields
    ------
    ClipScore
        One a clip.

    Raises
    ------
    VivimError
        If there are no clips, or a file cannot be read.
    """
    target = choose_device(device)
    model.to(target).eval()
    place, label = split_label(str(dataset))
    for folder in find_clips(place, leave_out):
        if not pair_files(folder, part=part):
            continue
        result = evaluate_clip(folder, model, target, label, 1 if stills else CLIP_LENGTH, part)
        report(f"{result.clip}: {len(result.frames)} frames, Dice {result.scores['dice']:.3f}")
        yield result


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % confidence interval of a mean over clips, by bootstrap. None for fewer than two."""
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.asarray(values)[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def false_alarm_rate(clips: Sequence[ClipScore]) -> float | None:
    """Part of the frames without a lesion in which more than `SPECK` of the pixels are called lesion."""
    empty = sum(clip.empty_frames for clip in clips)
    return sum(clip.false_alarms for clip in clips) / empty if empty else None


def miss_rate(clips: Sequence[ClipScore]) -> float | None:
    """Part of the frames with a lesion in which no more than `SPECK` of the pixels are called lesion."""
    with_lesion = sum(len(clip.frames) - clip.empty_frames for clip in clips)
    return sum(clip.misses for clip in clips) / with_lesion if with_lesion else None


def calibration_error(presence: Sequence[tuple[float, bool]], bins: int = 10) -> float | None:
    """Expected calibration error of probabilities of presence, in bins of equal width, weighted by their frames."""
    if not presence:
        return None
    said, true = np.array(presence, float).T
    place = np.minimum((said * bins).astype(int), bins - 1)
    return float(sum(abs((said - true)[place == b].sum()) for b in range(bins)) / len(said))


def overall(
    clips: Sequence[ClipScore],
) -> tuple[dict[str, float | None], dict[str, tuple[float, float] | None]]:
    """Means over clips and their confidence intervals. The best threshold is one for all clips."""
    means: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    for name in SCORES:
        values = [v for clip in clips if (v := clip.scores[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
        intervals[name] = interval(values)
    for name in clips[0].frames[0].curves:
        curves = [np.mean([frame.curves[name] for frame in clip.frames], axis=0) for clip in clips]
        means[f"max_{name}"] = float(np.mean(curves, axis=0).max())
    return means, intervals
