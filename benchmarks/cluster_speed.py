"""Workers against the plain loop, each in fresh processes: ``python -m benchmarks.cluster speed``.

Two processes that do the very same differ by more than what is measured here, by how their memory happens to lie. So
there are several sets of processes, one of each kind, that take turns; what is reported is the overhead in each set,
its median over the sets, and beside it how far the plain loops lie apart among themselves.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from vivim.batch.dask_cluster import connected, local_cluster
from vivim.batch.jobs import Segmenting

from benchmarks.cluster_videos import ended, jobs_of, make_videos, written

PLAIN, ONE, HALF, TWO = "plain loop", "1 worker", "1 worker, half the cores", "2 workers, half the cores each"
"""Kinds of processes; the first two with all cores."""
Times = tuple[float, float]
"""Seconds by the clock, and of all processors in all processes that take part."""


def speed(args: argparse.Namespace) -> dict[str, object]:
    """Sets of fresh processes; within a set the kinds take turns, and the first round, which loads, is not timed."""
    from dask.system import CPU_COUNT

    rounds: dict[str, list[list[Times]]] = {kind: [] for kind in (PLAIN, ONE, HALF, TWO)}
    with tempfile.TemporaryDirectory(prefix="vivim-cluster") as name:
        root, numbers = Path(name), itertools.count()
        make_videos(root / "videos", args.videos, args.frames, (256, 256))
        for number in range(args.sets):
            with _set(root / "videos", list(rounds)) as processes:
                for times in rounds.values():
                    times.append([])
                for turn in range(args.rounds + 1):
                    order = list(rounds) if turn % 2 else list(reversed(rounds))
                    for kind in order:
                        processes[kind].send(root / f"out{next(numbers)}")
                        measured = processes[kind].recv()
                        if turn:
                            rounds[kind][-1].append(measured)
            print(f"set {number + 1}: {[rounds[kind][-1] for kind in rounds]}", file=sys.stderr)
        outs = [written(path) for path in root.glob("out*")]
    return {
        "videos": args.videos,
        "frames": args.frames,
        "cores": CPU_COUNT,
        **_summary(rounds, args.videos),
        "masks_identical": all(out == outs[0] for out in outs),
    }


def _summary(rounds: dict[str, list[list[Times]]], videos: int) -> dict[str, object]:
    """Of each process the medians of its rounds; what is compared is always of one set."""
    clock, processor = (
        {
            kind: [statistics.median(times[which] for times in one) for one in sets]
            for kind, sets in rounds.items()
        }
        for which in (0, 1)
    )
    middle = statistics.median(clock[PLAIN])
    return {
        "seconds": {kind: _spread(times, 2) for kind, times in clock.items()},
        "processor_seconds": {kind: _spread(times, 2) for kind, times in processor.items()},
        "overhead_percent": _spread(_percent(clock[ONE], clock[PLAIN]), 1),
        "overhead_ms_a_video": round(
            10 * statistics.median(_percent(clock[ONE], clock[PLAIN])) * middle / videos, 1
        ),
        "processor_overhead_percent": _spread(_percent(processor[ONE], processor[PLAIN]), 1),
        "plain_loops_among_themselves_percent": _spread([100 * (t / middle - 1) for t in clock[PLAIN]], 1),
        "speed_up_of_the_second_worker": _spread(_ratios(clock[HALF], clock[TWO]), 2),
        "2_workers_against_the_plain_loop": _spread(_ratios(clock[PLAIN], clock[TWO]), 2),
    }


def _ratios(first: list[float], second: list[float]) -> list[float]:
    return [a / b for a, b in zip(first, second, strict=True)]


def _percent(first: list[float], second: list[float]) -> list[float]:
    return [100 * (ratio - 1) for ratio in _ratios(first, second)]


def _spread(values: list[float], digits: int) -> dict[str, float | list[float]]:
    """The median over the sets, and every set."""
    return {
        "median": round(statistics.median(values), digits),
        "sets": [round(value, digits) for value in values],
    }


@contextmanager
def _set(videos: Path, kinds: list[str]) -> Iterator[dict[str, Connection]]:
    """A fresh process of each kind, all there at once; a folder sent is filled, and the times come back."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for kind in kinds:
        pipes[kind], theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, kind, videos))
        process.start()
        processes.append(process)
        pipes[kind].recv()
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.send(None)
        for process in processes:
            process.join()


def _work(pipe: Connection, kind: str, videos: Path) -> None:
    """What a process does until it is sent no more folders."""
    from dask.system import CPU_COUNT
    from vivim.registry.registry import load_model

    options = Segmenting("starter", load_model("starter").version, device="cpu")
    if kind == PLAIN:
        pipe.send("ready")
        while out := pipe.recv():
            began = time.perf_counter(), time.process_time()
            ended(jobs_of(videos, out, options))
            pipe.send((time.perf_counter() - began[0], time.process_time() - began[1]))
        return
    threads = CPU_COUNT if kind == ONE else max(1, CPU_COUNT // 2)
    with (
        local_cluster(2 if kind == TWO else 1, "cpu", threads) as cluster,
        connected(cluster.scheduler_address, "cpu") as client,
    ):

        def spent() -> float:
            return time.process_time() + sum(client.run(time.process_time).values())

        pipe.send("ready")
        while out := pipe.recv():
            began = time.perf_counter(), spent()
            ended(jobs_of(videos, out, options), cluster.scheduler_address)
            seconds = time.perf_counter() - began[0]
            pipe.send((seconds, spent() - began[1]))
