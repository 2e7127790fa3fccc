"""What is acknowledged survives kills, power cuts, interrupts and damaged files: a few rounds, all by the marker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
LONG = pytest.mark.robustness


def run(program: str, *words: object) -> dict[str, Any]:
    """Run a program of this folder, and return the counts that it prints last."""
    command = [sys.executable, str(HERE / program), *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode == 2:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    counts: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return counts


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
@pytest.mark.parametrize(
    ("kind", "rounds"),
    [("correct", 2), ("export", 1), ("propose", 1)]
    + [pytest.param(kind, 100, marks=LONG) for kind in ("correct", "propose", "export", "finetune")],
)
def test_what_was_acknowledged_survives_a_kill(kind: str, rounds: int) -> None:
    counts = run("kill.py", "--rounds", rounds, "--kinds", kind)
    assert counts["survived"] == {kind: rounds} and counts["failures"] == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a disk")
@pytest.mark.parametrize(
    ("kinds", "rounds"),
    [
        (("correct", "create"), 1),
        pytest.param(("correct", "propose", "undo", "import", "create"), 20, marks=LONG),
    ],
)
def test_what_was_acknowledged_survives_a_power_cut(kinds: tuple[str, ...], rounds: int) -> None:
    counts = run("power_cuts.py", "--rounds", rounds, "--kinds", *kinds)
    assert counts["survived"] == dict.fromkeys(kinds, rounds) and counts["failures"] == []


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=LONG)])
def test_damaged_sessions_and_models_are_used_or_refused(count: int) -> None:
    counts = run("mutate_sessions.py", "--count", count, "--seed", 7)
    assert counts["used"] + counts["refused"] == count and counts["wrong"] == []
    assert counts["refused"] > count // 5


@pytest.mark.parametrize("count", [24, pytest.param(1000, marks=LONG)])
def test_of_many_damaged_sessions_none_is_silent(count: int) -> None:
    counts = run("damaged_sessions.py", "--count", count, "--seed", 3)
    assert counts["told"] > count // 3 and counts["count"] == count


@LONG
def test_two_thousand_interrupts_leave_nothing_half_done() -> None:
    assert run("interrupts.py", "--count", 2000)["interrupts"] >= 2000
