"""A sample of `benchmarks.mutate_videos`: damaged videos are read or refused, and nothing worse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_damaged_videos_are_read_or_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.mutate_videos", "--count", "40", "--seed", "11"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["read"] + result["refused"] == 40 and result["refused"] > 8 and result["wrong"] == []
