"""Many videos on workers: speed, overhead, the load of the scheduler, and workers that are killed.

``python -m benchmarks.cluster speed``: 1 and 2 workers against the plain loop, in fresh processes, start-up apart.
``python -m benchmarks.cluster wait``: jobs that only wait, as for a GPU: what handing them out costs, 1 to 4 workers.
``python -m benchmarks.cluster load --videos 100000 --workers 64``: jobs that do nothing, by the same way as real ones,
and how busy the scheduler would be with real ones.
``python -m benchmarks.cluster memory``: the most memory a worker ever held, by the length and number of videos.
``python -m benchmarks.cluster kill``: 20 videos, workers killed in the middle; every file against the plain loop's.
``python -m benchmarks.cluster deadly``: one of 20 videos kills every worker that takes it up.
``python -m benchmarks.cluster digest``: what reading a whole video costs beside segmenting it, with the starter.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vivim.batch.dask_cluster import connected, local_cluster
from vivim.batch.jobs import Job, Outcome, Segmenting, Working
from vivim.batch.run import run
from vivim.batch.scheduler import run_on

from benchmarks.cluster_videos import ended, jobs_of, make_videos, told, written

FIELDS = {
    "frames": 300,
    "seconds": 30.0,
    "lesion_frames": 280,
    "mean_area_px": 1234.5,
    "files": {"png": "p/s/masks"},
}
FORMATS = ("png", "palette", "youtube-vos", "tiff", "ome-tiff", "coco", "nifti", "mp4", "csv")
"""Formats that are compared to the byte; DICOM objects carry new identifiers each time, as they must."""
SIZE = (480, 640)
"""Height and width of the videos whose memory is measured."""
GPU_SECONDS, CPU_SECONDS = 5.0, 60.0
"""A video of 300 frames on a GPU and on a few cores: what a job takes in the calculation of the load."""


# -- wait -------------------------------------------------------------------------------------------------------------


def waiting(job: Job, topic: str) -> Outcome:
    """What a worker runs here: it waits, as for a device of its own, and asks nothing of the processor."""
    time.sleep(float(job.path))
    return Outcome(job.stem, "done")


def wait(args: argparse.Namespace) -> dict[str, object]:
    """What handing out costs a video, and what more workers gain, whatever the number of cores here."""
    jobs = [Job(str(args.seconds), f"scan{i}", "out", Segmenting("starter", "")) for i in range(args.videos)]
    result: dict[str, object] = {"videos": args.videos, "seconds_a_video": args.seconds}
    for workers in (1, 2, 4):
        with local_cluster(workers, "cpu") as cluster, connected(cluster.scheduler_address, "cpu") as client:
            list(run_on(client, jobs[: 2 * workers], work=waiting))
            began = time.perf_counter()
            assert len(list(run_on(client, jobs, work=waiting))) == len(jobs)
            took = time.perf_counter() - began
        ideal = args.seconds * -(-len(jobs) // workers)
        result[f"{workers} workers"] = {
            "seconds": round(took, 2),
            "speed_up": round(args.seconds * len(jobs) / took, 2),
            "overhead_ms_a_video": round(1e3 * (took - ideal) * workers / len(jobs), 1),
            "overhead_percent": round(100 * (took / ideal - 1), 2),
        }
    return result


# -- load --------------------------------------------------------------------------------------------------------------


def nothing(job: Job, topic: str) -> Outcome:
    """What a worker runs here: an outcome as large as a real one, after as many words of progress as `path` says."""
    from distributed import get_worker

    worker = get_worker()
    for number in range(int(job.path)):
        word = Working(job.stem, "proposing", number, 300, 5.0)
        worker.log_event(topic, {**asdict(word), "name": str(worker.name)})
    return Outcome(job.stem, "done", "0" * 64, "0" * 32, **FIELDS)


def load(args: argparse.Namespace) -> dict[str, object]:
    """All in one process, so that what is measured is scheduler, workers and client together: more than the first.

    The cost of a job is measured without words of progress, that of a word by a tenth of the jobs with ten words each.
    """
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=args.workers,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,
        connected(cluster.scheduler_address, "cpu") as client,
    ):
        silent = _loaded(client, cluster.scheduler, args.videos, 0)
        telling = _loaded(client, cluster.scheduler, args.videos // 10, 10)
    job, told = silent["cpu_ms_a_job"], telling["cpu_ms_a_job"]
    word = max(0.0, (told - job) / 10)
    real = {"GPU": GPU_SECONDS, "CPU": CPU_SECONDS}
    return {
        "workers": args.workers,
        "without_words": silent,
        "with_10_words": telling,
        "cpu_ms_a_word": round(word, 3),
        "busy_percent_of_a_core": {
            f"{kind}, {seconds:g} s a video": round((job / seconds + word) * args.workers / 10, 2)
            for kind, seconds in real.items()
        },
        "hours_for_100000_videos": {
            f"{kind}, {seconds:g} s a video": round(100_000 * seconds / args.workers / 3600, 1)
            for kind, seconds in real.items()
        },
    }


def _loaded(client: Any, scheduler: Any, videos: int, words: int) -> dict[str, Any]:
    import psutil

    options = Segmenting("starter", "0" * 12, split=4096)
    before = {**asdict(Outcome("p/s", "failed", "0" * 64, "0" * 32, **FIELDS)), "options": options.decisive()}
    jobs = (Job(str(words), f"patient{i}/scan", "studies/out", options, before) for i in range(videos))
    process, known, done = psutil.Process(), 0, 0
    grown: list[int] = []
    spent = [time.process_time()]
    wall, cpu, start = time.perf_counter(), time.process_time(), process.memory_info().rss
    for event in run_on(client, jobs, work=nothing):
        done += isinstance(event, Outcome)
        if isinstance(event, Outcome) and done % max(1, videos // 10) == 0:
            grown.append(round((process.memory_info().rss - start) / 2**20))
            known = max(known, len(scheduler.tasks))
            spent.append(time.process_time())
            print(f"{done} jobs, {time.perf_counter() - wall:.0f} s, {grown[-1]} MiB more", file=sys.stderr)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "jobs": done,
        "jobs_a_second": round(done / wall, 1),
        "cpu_ms_a_job": round(1e3 * cpu / done, 2),
        "most_jobs_known_to_the_scheduler": known,
        "cpu_ms_a_job_by_tenths": [
            round(1e3 * (after - before) / max(1, videos // 10), 2)
            for before, after in itertools.pairwise(spent)
        ],
        "memory_growth_mib_by_tenths": grown,
    }


# -- memory ------------------------------------------------------------------------------------------------------------


def memory(args: argparse.Namespace) -> dict[str, object]:
    """One worker for a short video, a long one, and several at once; the most memory it ever held after each."""
    from vivim.registry.registry import load_model

    options = Segmenting("starter", load_model("starter").version, device="cpu")
    result: dict[str, object] = {"frames": args.frames, "size": SIZE}
    with tempfile.TemporaryDirectory(prefix="vivim-cluster") as name:
        root = Path(name)
        videos = {"a short video": (1, 1), "one ten times as long": (1, 10), "three at once": (3, 1)}
        for kind, (count, times) in videos.items():
            make_videos(root / kind, count, times * args.frames, SIZE)
        with local_cluster(1, "cpu") as cluster, connected(cluster.scheduler_address, "cpu") as client:
            for kind in videos:
                began = time.perf_counter()
                ended(jobs_of(root / kind, root / f"out of {kind}", options), cluster.scheduler_address)
                most = max(client.run(most_memory).values())
                result[kind] = {"peak_mib": round(most / 2**20), "s": round(time.perf_counter() - began, 1)}
    return result


def most_memory() -> int:
    """The most this process ever held, in bytes; source: getrusage(2)."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# -- kill --------------------------------------------------------------------------------------------------------------


def kill(args: argparse.Namespace) -> dict[str, object]:
    """Kill a worker after every fifth video, in the middle of the next."""
    import torch
    from vivim import Vivim, VivimConfig
    from vivim.network.checkpoints import save_checkpoint
    from vivim.registry.registry import load_model

    rng, killed, tried = random.Random(0), 0, []
    with tempfile.TemporaryDirectory(prefix="vivim-cluster") as name:
        root = Path(name)
        make_videos(root / "videos", args.videos, args.frames, (64, 64))
        torch.manual_seed(0)
        model = Vivim(VivimConfig(size="b0", guided=True, input_size=(64, 64)))
        save_checkpoint(model, root / "tiny.safetensors", {"licence": "test"})
        version = load_model(str(root / "tiny.safetensors")).version
        options = Segmenting(
            str(root / "tiny.safetensors"), version, "cpu", formats=FORMATS, split=args.split
        )
        ended(jobs_of(root / "videos", root / "plain", replace(options, split=None)))
        with local_cluster(2, "cpu") as cluster, connected(cluster.scheduler_address, "cpu") as client:
            done = 0
            for event in run(jobs_of(root / "videos", root / "out", options), cluster.scheduler_address):
                if isinstance(event, Outcome):
                    assert event.status == "done", event.reason
                    done += 1
                    tried.append(event.stem)
                elif isinstance(event, Working) and done >= 5 * (killed + 1) and done < args.videos - 2:
                    pid = rng.choice(list(client.run(os.getpid, on_error="ignore").values()))
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        files = written(root / "out")
        same = files == written(root / "plain")
        left = [
            path.name for path in (root / "out").rglob(".*") if ".part" in path.name or "ranges" in path.name
        ]
    return {
        "videos": len(tried),
        "killed": killed,
        "files": len(files),
        "masks": sum("/masks/" in name for name in files),
        "all_files_identical": same,
        "left_in_the_making": left,
    }


# -- deadly ------------------------------------------------------------------------------------------------------------


def kills(job: Job, topic: str) -> Outcome:
    """What a worker runs here: the first video ends it, whichever worker it is."""
    if job.stem == "scan0":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(job.stem, "done")


def deadly(args: argparse.Namespace) -> dict[str, object]:
    """A video that kills every worker that takes it up."""
    jobs = [Job("", f"scan{i}", "out", Segmenting("starter", "")) for i in range(args.videos)]
    with local_cluster(2, "cpu") as cluster, connected(cluster.scheduler_address, "cpu") as client:
        began = time.perf_counter()
        outcomes = [event for event in run_on(client, jobs, work=kills) if isinstance(event, Outcome)]
    return {
        "videos": args.videos,
        "done": sum(outcome.status == "done" for outcome in outcomes),
        "failed": {outcome.stem: outcome.reason for outcome in outcomes if outcome.status != "done"},
        "seconds": round(time.perf_counter() - began, 1),
    }


# -- digest ------------------------------------------------------------------------------------------------------------


def digest(args: argparse.Namespace) -> dict[str, object]:
    """Seconds to read a video and digest it, to find its digest in the cache, and to segment it."""
    from vivim.batch.content import FRESH_SECONDS, content_of
    from vivim.registry.registry import load_model

    def read(path: Path) -> float:
        began = time.perf_counter()
        for _ in content_of(path, [path]):
            pass
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as name:
        os.environ["VIVIM_HOME"] = f"{name}/home"
        make_videos(Path(name, "videos"), args.videos, args.frames, SIZE)
        large = Path(name, "large.bin")
        large.write_bytes(os.urandom(2**20) * 2**10)
        time.sleep(2 * FRESH_SECONDS)
        first, again = read(large), read(large)
        options = Segmenting("starter", load_model("starter").version, device="cpu")
        outcomes = ended(jobs_of(Path(name, "videos"), Path(name, "out"), options))
        size = sum(path.stat().st_size for path in Path(name, "videos").iterdir())
    seconds = sum(outcome.seconds for outcome in outcomes)
    return {
        "digest_seconds_a_gib": round(first, 2),
        "cached_seconds_a_gib": round(again, 4),
        "segmenting_seconds": round(seconds, 2),
        "video_mib": round(size / 2**20, 3),
        "digest_percent_of_segmenting": round(100 * first * size / 2**30 / seconds, 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    from benchmarks.cluster_speed import speed

    commands = parser.add_subparsers(dest="command", required=True)
    for command, videos, frames in (
        (speed, 4, 24),
        (load, 100_000, 0),
        (kill, 20, 24),
        (wait, 40, 0),
        (memory, 0, 96),
        (deadly, 20, 0),
        (digest, 1, 48),
    ):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(run=command)
        sub.add_argument("--videos", type=int, default=videos)
        sub.add_argument("--frames", type=int, default=frames)
        sub.add_argument("--sets", type=int, default=6, help="of fresh processes")
        sub.add_argument("--rounds", type=int, default=2, help="in each process")
        sub.add_argument("--workers", type=int, default=64)
        sub.add_argument("--seconds", type=float, default=0.5, help="of a job that waits")
        sub.add_argument("--split", type=int, help="cut videos of more frames")
        sub.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    return told(args.run(args), args.json)


if __name__ == "__main__":
    sys.exit(main())
