"""A sample of `benchmarks.mutate_sessions`: damaged sessions and models are used or refused, and nothing worse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_damaged_sessions_and_models_are_used_or_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.mutate_sessions", "--count", "100", "--seed", "7"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["used"] + result["refused"] == 100 and result["refused"] > 20 and result["wrong"] == []
