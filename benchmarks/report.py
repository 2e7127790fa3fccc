"""What the benchmarks share: interleaved timing, the machine's description, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

POLL = 0.02  # seconds between two looks at the memory


def interleaved(
    runs: Mapping[str, Callable[[], object]], rounds: int, at_most: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds of every run in turn, then again, so that a busy machine slows all alike; one round before is not timed.

    `at_most` limits the rounds of runs that take very long.
    """
    limits = at_most or {}
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds):
        for name, run in runs.items():
            if i >= limits.get(name, rounds):
                continue
            began = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def replayed(call: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The same on a CUDA device, recorded once; each call replays the kernels on what lies in their inputs now.

    What is timed is then the GPU's work alone, without the launches from Python.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


class Peak:
    """The highest resident memory of this process while it lasts, in bytes."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self.start = self.highest = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(POLL):
            self.highest = max(self.highest, self._process.memory_info().rss)


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, least and number of the rounds, in milliseconds."""
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 2),
        "least_ms": round(1e3 * min(seconds), 2),
        "rounds": len(seconds),
    }


def machine(device: str = "cpu") -> dict[str, object]:
    """What the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor,
        "threads": torch.get_num_threads(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Options every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    made.add_argument("--rounds", type=int, default=rounds, help="runs of each implementation")
    made.add_argument("--threads", type=int, help="threads of PyTorch and of the compiled kernels")
    return made


def set_threads(arguments: argparse.Namespace) -> None:
    """Obey ``--threads``."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)


def write(report: dict[str, object], path: Path | None) -> None:
    """Write the numbers, where asked to."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
