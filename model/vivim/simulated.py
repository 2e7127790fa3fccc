"""What a simulated annotator reports: results as a table for people and as an object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vivim.simulate import Result

GOOD = 0.90
"""Dice that masks should reach, and keep."""


def corrections_until(history: Sequence[float], good: float = GOOD) -> int | None:
    """After how many corrections Dice is at least `good` and stays so to the end; None if it is not at the end."""
    below = [number for number, value in enumerate(history) if value < good]
    if not below:
        return 0
    return below[-1] + 1 if below[-1] + 1 < len(history) else None


def summary(results: Sequence[Result]) -> dict:
    """Results as the object that ``vivim simulate --json`` prints; means are over clips.

    Where frames were chosen by the queue and evenly, the queue's results are reported as ever, and those of evenly
    spaced frames beside them under ``"even"``.
    """
    queue, even = ([r for r in results if r.choose == name] for name in ("queue", "even"))
    report = _of_one_chooser(queue or even)
    return {**report, "even": _of_one_chooser(even)} if queue and even else report


def _of_one_chooser(results: Sequence[Result]) -> dict:
    mean = {}
    for number in sorted({r.corrections for r in results}):
        rows = [r for r in results if r.corrections == number]
        mean[str(number)] = {
            key: _number(np.mean([getattr(r, key) for r in rows]))
            for key in ("dice", "interpolation_dice", "propagation_dice", "mean_seconds")
        }
    report = {
        "clips": [{key: _plain(value) for key, value in asdict(r).items()} for r in results],
        "mean": mean,
    }
    if any(r.choose == "queue" for r in results):
        last = {r.clip: r for r in results}
        report["corrections_until_good"] = {clip: corrections_until(r.history) for clip, r in last.items()}
    return report


def _plain(value: Any) -> Any:
    """A value of a `Result` as JSON can hold it."""
    if isinstance(value, float):
        return _number(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _number(value: float) -> float | None:
    """A number JSON can hold: rounded, None where there is none."""
    return round(float(value), 4) if np.isfinite(value) else None


def table(results: Sequence[Result]) -> str:
    """Results as a table for people: Dice of the tool and of both baselines, and machine time per correction."""
    heads = f"{'corrections':>11} {'Dice':>6} {'interpolated':>12} {'flow (DIS)':>10} {'s/correction':>12}"
    lines = [f"{'clip':38} {heads}"]
    for r in results:
        lines.append(_line(_title(r.clip, r.choose), r.corrections, r))
    means = summary(results)
    first = results[0].choose if results else "queue"
    for choose, report in ((first, means), ("even", means.get("even", {}))):
        for number, row in report.get("mean", {}).items():
            shown = {key: float("nan") if value is None else value for key, value in row.items()}
            lines.append(_line(_title("mean over clips", choose), number, SimpleNamespace(**shown)))
    for clip, number in means.get("corrections_until_good", {}).items():
        reached = "not reached" if number is None else f"{number} corrections"
        lines.append(f"{clip[-32:]:38} Dice stays over {GOOD:.2f} after: {reached}")
    return "\n".join(lines)


def _title(name: str, choose: str) -> str:
    return f"{name[-32:]} ({choose})"


def _line(title: str, number: int | str, row: Result | SimpleNamespace) -> str:
    cells = (
        (row.dice, 6, 3),
        (row.interpolation_dice, 12, 3),
        (row.propagation_dice, 10, 3),
        (row.mean_seconds, 12, 1),
    )
    shown = (f"{'-':>{w}}" if np.isnan(value) else f"{value:>{w}.{d}f}" for value, w, d in cells)
    return f"{title:38} {number:>11} " + " ".join(shown)
