"""Run the tests several times, each time in another random order, and count what failed.

``make test-repeat N=10`` calls it. After each run it says the seed of the order (``make test SEED=...`` repeats it),
the seconds and the failures; at the end, how often each test failed. It ends with 1 if any test failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def main() -> int:
    """Run the tests as often as the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--workers", default="auto", help="processes that share the tests, or 0 for none")
    parser.add_argument(
        "--busy", type=int, default=0, help="processes beside the tests that only keep a core busy"
    )
    parser.add_argument("words", nargs="*", help="what else to tell pytest, after --")
    chosen = parser.parse_args()
    beside = [multiprocessing.Process(target=_keep_busy, daemon=True) for _ in range(chosen.busy)]
    for process in beside:
        process.start()
    failed: Counter[str] = Counter()
    for number in range(1, chosen.times + 1):
        seed, began = random.randrange(2**31), time.monotonic()
        names, tests = run(seed, chosen.workers, chosen.words)
        failed.update(names)
        seconds = time.monotonic() - began
        print(f"run {number}, seed {seed}: {len(names)} of {tests} failed, {seconds:.0f} s", flush=True)
    print(f"{failed.total()} failures in {chosen.times} runs")
    for name, count in failed.most_common():
        print(f"{count:4} x {name}")
    return min(failed.total(), 1)


def run(seed: int, workers: str, words: list[str]) -> tuple[list[str], int]:
    """Run the tests once; the names of those that failed, and how many there were. A run that broke off has failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--quiet",
            f"--randomly-seed={seed}",
            f"--junitxml={report}",
        ]
        command += ["--numprocesses", workers, "--dist", "worksteal", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    names = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    if done.returncode not in (0, 1) or (done.returncode and not names):
        names.append(f"the run itself (exit code {done.returncode})")
    if names:
        print(done.stdout, flush=True)
    return names, len(cases)


def _keep_busy() -> None:
    while True:
        pass


if __name__ == "__main__":
    sys.exit(main())
