"""Report of a simulated annotator: a table for people and an object for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vivim.utils.json_types import as_json

GOOD = 0.90
"""Dice that masks should reach, and keep."""

SLACK = 0.001
"""Dice by which a result must be lower than another to count as worse."""


@dataclass(frozen=True)
class SimulationResult:
    """Mean Dice over the frames of one clip that were not corrected, after some corrections."""

    clip: str
    frames: int
    corrections: int
    corrected: tuple[int, ...]
    dice: float
    interpolation_dice: float
    """Dice of the same corrected masks interpolated by signed distance, over the same frames as `dice`."""
    propagation_dice: float
    """Dice of the same corrected masks propagated along the optical flow, over the same frames as `dice`."""
    promoted: bool
    """Whether the last fine-tune did better on held-out corrected frames and was kept."""
    seconds: float
    """Machine time since the previous correction."""
    mean_seconds: float
    """Machine time per correction so far, of the first proposal where nothing is corrected yet."""
    history: tuple[float, ...]
    """`dice` after 0, 1, 2, ... corrections. Of evenly spaced frames, after the numbers reported so far."""
    common_frames: int
    """Frames that the run never corrects."""
    common_history: tuple[float, ...]
    """As `history`, over those frames alone, to show what one more correction does. NaN without any."""
    choose: str = "queue"
    """How frames were chosen: ``"queue"``, ``"even"`` or ``"first"``."""
    all_frames_dice: float = float("nan")
    """Mean Dice over all frames, those corrected too, as they were drawn."""
    total_clicks: int = 0
    """Clicks so far. 0 where masks are drawn."""
    jaccard: float = float("nan")
    """J of trackers: mean Jaccard index over the frames after the first, where only that is given."""
    boundary_f: float = float("nan")
    """F of trackers: mean of `vivim.imaging.metrics.boundary_f` over the same frames."""
    j_and_f: float = float("nan")
    """Mean of the two."""

    @property
    def below_baselines(self) -> bool:
        """Whether interpolation or flow, from the same corrected frames, does better."""
        return bool(self.dice < max(self.interpolation_dice, self.propagation_dice) - SLACK)

    @property
    def falls(self) -> tuple[float, ...]:
        """Losses of Dice over the common frames, one for each correction that lowered it."""
        down = -np.diff(self.common_history)
        return tuple(float(fall) for fall in down if fall > SLACK)


def corrections_until(history: Sequence[float], good: float = GOOD) -> int | None:
    """Number of corrections after which Dice stays at `good` or above to the end, None if it ends below."""
    below = [number for number, value in enumerate(history) if value < good]
    if not below:
        return 0
    return below[-1] + 1 if below[-1] + 1 < len(history) else None


def summary(results: Sequence[SimulationResult]) -> dict:
    """Results as the object that ``vivim simulate --json`` prints, with means over clips."""
    queue, even = ([r for r in results if r.choose == name] for name in ("queue", "even"))
    report = _of_one_chooser(queue or even)
    if first := [r for r in results if r.choose == "first"]:
        report = _of_one_chooser(first)
        for name in ("jaccard", "boundary_f", "j_and_f"):
            report["mean"]["1"][name] = np.mean([getattr(r, name) for r in first])
    if queue and even:
        report["even"] = _of_one_chooser(even)
    return as_json(report, digits=4)


def _of_one_chooser(results: Sequence[SimulationResult]) -> dict[str, Any]:
    mean = {}
    for number in sorted({r.corrections for r in results}):
        rows = [r for r in results if r.corrections == number]
        mean[str(number)] = {
            key: np.mean([getattr(r, key) for r in rows])
            for key in (
                "dice",
                "interpolation_dice",
                "propagation_dice",
                "mean_seconds",
                "all_frames_dice",
                "total_clicks",
            )
        } | {
            "common_dice": np.mean([r.common_history[-1] for r in rows]),
            "clips": len(rows),
            "clips_below_baselines": sum(r.below_baselines for r in rows),
            "clips_fallen": sum(bool(r.falls) for r in rows),
            "largest_fall": max((fall for r in rows for fall in r.falls), default=0.0),
        }
    clips = [asdict(r) | {"below_baselines": r.below_baselines, "falls": r.falls} for r in results]
    report: dict[str, Any] = {"clips": clips, "mean": mean}
    if any(r.choose == "queue" for r in results):
        last = {r.clip: r for r in results}
        report["corrections_until_good"] = {clip: corrections_until(r.history) for clip, r in last.items()}
    return report


def table(results: Sequence[SimulationResult]) -> str:
    """Results as a table for people: Dice of the tool and of both baselines, losses, machine time."""
    lines = [f"{'clip':38} {'corrections':>11} " + " ".join(f"{name:>{width}}" for name, width in _COLUMNS)]
    for r in results:
        figures = (r.dice, r.interpolation_dice, r.propagation_dice, r.common_history[-1])
        worse: tuple[str, ...] = ("yes" if r.below_baselines else "no", f"{len(r.falls)} times")
        lines.append(_line(_title(r.clip, r.choose), r.corrections, figures, worse, r.mean_seconds))
    means = summary(results)
    first = results[0].choose if results else "queue"
    for choose, report in ((first, means), ("even", means.get("even", {}))):
        for number, row in report.get("mean", {}).items():
            names = ("dice", "interpolation_dice", "propagation_dice", "common_dice")
            counts = ("clips_below_baselines", "clips_fallen")
            worse = tuple(f"{row[name]} of {row['clips']}" for name in counts)
            figures = tuple(row[name] for name in names)
            lines.append(
                _line(_title("mean over clips", choose), number, figures, worse, row["mean_seconds"])
            )
    for clip, number in means.get("corrections_until_good", {}).items():
        reached = "not reached" if number is None else f"{number} corrections"
        lines.append(f"{clip[-32:]:38} Dice stays over {GOOD:.2f} after: {reached}")
    lines.append(
        f"common: frames never corrected; below: interpolation or flow is better by over {SLACK}; "
        "fell: corrections after which the common frames were worse, and clips where that happened"
    )
    return "\n".join(lines)


_COLUMNS = (
    ("Dice", 6),
    ("interpolated", 12),
    ("flow (DIS)", 10),
    ("common", 6),
    ("below", 7),
    ("fell", 7),
    ("s/correction", 12),
)


def _title(name: str, choose: str) -> str:
    return f"{name[-32:]} ({choose})"


def _line(
    title: str,
    number: int | str,
    figures: Sequence[float | None],
    worse: Sequence[str],
    seconds: float | None,
) -> str:
    cells = [*(_shown(value, 3) for value in figures), *worse, _shown(seconds, 1)]
    columns = zip(cells, _COLUMNS, strict=True)
    return f"{title:38} {number:>11} " + " ".join(f"{cell:>{width}}" for cell, (_, width) in columns)


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"
