"""A few rounds of `benchmarks.power_cuts` on a real file system: nothing acknowledged a second ago is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a disk")
def test_what_was_acknowledged_survives_a_power_cut() -> None:
    command = [sys.executable, "-m", "benchmarks.power_cuts", "--rounds", "1", "--kinds", "correct", "create"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode == 2:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["survived"] == {"correct": 1, "create": 1} and result["failures"] == []
