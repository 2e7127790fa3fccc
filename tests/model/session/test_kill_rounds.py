"""A few rounds of `benchmarks.kill`: nothing acknowledged is lost to SIGKILL, nothing half-written is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
@pytest.mark.parametrize(("kind", "rounds"), [("correct", 1), ("readers", 1), ("export", 1), ("propose", 1)])
def test_what_was_acknowledged_survives_a_kill(kind: str, rounds: int) -> None:
    command = [sys.executable, "-m", "benchmarks.kill", "--rounds", str(rounds), "--kinds", kind]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["survived"] == {kind: rounds} and result["failures"] == []
