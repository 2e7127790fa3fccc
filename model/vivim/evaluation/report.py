"""Report of `vivim.evaluate`: a table, JSON, and pictures of the worst frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from vivim.evaluation.evaluate import (
    ClipScore,
    calibration_error,
    false_alarm_rate,
    miss_rate,
    overall,
    predict_clip,
)
from vivim.imaging.metrics import outline
from vivim.network import Vivim
from vivim.training.datasets import pair_files, read_frame
from vivim.utils.json_types import as_json

COLUMNS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "Prec.",
    "recall": "Recall",
    "specificity": "Spec.",
    "f_measure": "F",
    "max_dice": "maxDice",
    "max_jaccard": "maxIoU",
    "max_specificity": "maxSpec",
    "s_measure": "S",
    "e_measure": "E",
    "mae": "MAE",
    "hd95": "HD95",
    "consistency": "Steady",
}
"""Scores in the order of the table, with its headings."""

TRUE_COLOUR, PREDICTED_COLOUR = (0, 220, 90), (255, 60, 60)


def summary(clips: Sequence[ClipScore]) -> dict[str, Any]:
    """The object that ``vivim evaluate --json`` prints. None where a score could not be computed."""
    means, intervals = overall(clips)
    rows = [
        {
            "clip": clip.clip,
            "frames": len(clip.frames),
            "empty_frames": clip.empty_frames,
            "false_alarms": clip.false_alarms,
            "misses": clip.misses,
            **clip.scores,
        }
        for clip in clips
    ]
    report = {
        **means,
        "interval": intervals,
        "frames": sum(len(clip.frames) for clip in clips),
        "empty_frames": sum(clip.empty_frames for clip in clips),
        "false_alarms": sum(clip.false_alarms for clip in clips),
        "false_alarm_rate": false_alarm_rate(clips),
        "misses": sum(clip.misses for clip in clips),
        "miss_rate": miss_rate(clips),
        "presence_calibration_error": calibration_error(_presence(clips)),
        "clips": rows,
    }
    return as_json(report, digits=4)


def table(clips: Sequence[ClipScore]) -> str:
    """Scores as a table: a line a clip, the mean over clips, and its 95 % confidence interval."""
    means, intervals = overall(clips)
    lines = [f"{'clip':28} {'frames':>6} " + " ".join(f"{title:>7}" for title in COLUMNS.values())]
    for clip in clips:
        lines.append(_line(clip.clip[-28:], str(len(clip.frames)), [clip.scores[name] for name in COLUMNS]))
    lines.append(_line("mean over clips", "", [means[name] for name in COLUMNS]))
    for title, end in (("  from (95 %)", 0), ("  to", 1)):
        row = [None if (pair := intervals[name]) is None else pair[end] for name in COLUMNS]
        lines.append(_line(title, "", row))
    empty, alarms, misses = (
        sum(getattr(clip, name) for clip in clips) for name in ("empty_frames", "false_alarms", "misses")
    )
    frames = sum(len(clip.frames) for clip in clips)
    lines.append(
        f"False alarms in {alarms} of {empty} frames without a lesion, misses in {misses} of {frames - empty} with "
        "one. Frames without a lesion count 1 where nothing was predicted, else 0."
    )
    error = calibration_error(_presence(clips))
    if error is not None:
        lines.append(f"Expected calibration error of presence: {error:.3f}")
    return "\n".join(lines)


def _presence(clips: Sequence[ClipScore]) -> list[tuple[float, bool]]:
    return [pair for clip in clips for pair in clip.presence]


def _line(title: str, frames: str, values: Sequence[float | None]) -> str:
    shown = (f"{'-':>7}" if value is None else f"{value:7.3f}" for value in values)
    return f"{title:28} {frames:>6} " + " ".join(shown)


def write_worst(
    clips: Sequence[ClipScore], model: Vivim, device: torch.device, folder: Path, count: int = 12
) -> list[Path]:
    """Write the frames with the lowest Dice as pictures, the true outline in green, the predicted one in red.

    Returns their paths, ``01_CLIP_FRAME.png`` and so on, the worst first.
    """
    ranked = sorted(
        (
            (frame.scores["dice"], number, frame.frame)
            for number, clip in enumerate(clips)
            for frame in clip.frames
        )
    )[:count]
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for number in sorted({number for _, number, _ in ranked}):
        wanted = {frame: rank for rank, (_, n, frame) in enumerate(ranked) if n == number}
        clip = clips[number]
        files = pair_files(clip.folder, part=clip.part)
        predicted = predict_clip(model, clip.folder, device, clip.label, clip.window, clip.part)
        for t, (probability, true, _) in enumerate(predicted):
            if t in wanted:
                path = folder / f"{wanted[t] + 1:02d}_{clip.clip.replace('/', '_')}_{files[t][0].stem}.png"
                frame = read_frame(files[t][0]).copy()
                frame[outline(true)], frame[outline(probability > 0.5)] = TRUE_COLOUR, PREDICTED_COLOUR
                drawn = Image.fromarray(frame)
                label = f"{clip.clip} frame {t}, Dice {clip.frames[t].scores['dice']:.3f}"
                ImageDraw.Draw(drawn).text((4, 4), label, fill=(255, 255, 255))
                drawn.save(path)
                written[wanted[t]] = path
    return [written[rank] for rank in sorted(written)]
