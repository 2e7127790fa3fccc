"""One GPU against two of the same machine: many videos on workers, and training in two processes.

``python -m benchmarks.two_gpus segment``: the plain loop, one worker and two, each with a GPU of its own; every file
compared, and a worker killed in the middle.
``python -m benchmarks.two_gpus train``: steps a second under ``torchrun`` with one process and two, at the same batch
and at twice the batch, the losses beside those of another seed, and what normalising over both processes costs.
``--device cpu`` runs the same on processors (gloo instead of NCCL), to see that it works.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from vivim.batch.dask_cluster import connected, local_cluster
from vivim.batch.jobs import Outcome, Segmenting, Working
from vivim.batch.run import run

from benchmarks.cluster_videos import ended, jobs_of, told, written

SIZE = (256, 256)


# -- segment -----------------------------------------------------------------------------------------------------------


def picture_folder(folder: Path, frames: int, seed: int) -> None:
    """A video as a folder of PNG pictures, which needs no decoder of video."""
    from PIL import Image
    from vivim.video import make_phantom

    folder.mkdir(parents=True)
    for number, frame in enumerate(make_phantom(frames=frames, size=SIZE, seed=seed).frames):
        Image.fromarray(frame).save(folder / f"{number:04d}.png", compress_level=1)


def segment(args: argparse.Namespace) -> dict[str, object]:
    from dask.system import CPU_COUNT
    from vivim.batch.process_video import loaded

    options = Segmenting("starter", loaded("starter").version, device=args.device)
    threads = max(1, CPU_COUNT // 2)
    with tempfile.TemporaryDirectory(prefix="vivim-two") as name:
        root = Path(name)
        with ProcessPoolExecutor(min(args.videos, CPU_COUNT)) as pool:
            made = [
                pool.submit(picture_folder, root / "videos" / f"scan{number:02d}", args.frames, number)
                for number in range(args.videos)
            ]
            made += [
                pool.submit(picture_folder, root / "warm" / f"scan{number:02d}", 60, number)
                for number in range(4)
            ]
            for future in made:
                future.result()
        ended(jobs_of(root / "warm", root / "warm-plain", options))
        seconds: dict[str, list[float]] = {"plain": [], "1 worker": [], "2 workers": []}
        clusters = {f"{count} worker{'s' * (count > 1)}": count for count in (1, 2)}
        outs = []
        for turn in range(args.rounds):
            for kind in seconds:
                out = root / f"out-{kind[0]}-{turn}"
                outs.append(out)
                if kind == "plain":
                    began = time.perf_counter()
                    ended(jobs_of(root / "videos", out, options))
                    seconds[kind].append(time.perf_counter() - began)
                    continue
                with local_cluster(clusters[kind], args.device, threads) as cluster:
                    address = cluster.scheduler_address
                    ended(jobs_of(root / "warm", root / f"warm-{kind[0]}-{turn}", options), address)
                    began = time.perf_counter()
                    ended(jobs_of(root / "videos", out, options), address)
                    seconds[kind].append(time.perf_counter() - began)
        outs.append(root / "out-killed")
        killed = _with_a_killed_worker(root / "videos", outs[-1], options, args.device, threads)
        files = [written(out) for out in outs]
    middle = {kind: statistics.median(times) for kind, times in seconds.items()}
    total = args.videos * args.frames
    return {
        "videos": args.videos,
        "frames": args.frames,
        "seconds": {kind: [round(time, 2) for time in times] for kind, times in seconds.items()},
        "frames_a_second": {kind: round(total / time, 1) for kind, time in middle.items()},
        "speed_up_of_the_second_worker": round(middle["1 worker"] / middle["2 workers"], 2),
        "workers_killed": killed,
        "files": len(files[0]),
        "all_files_identical": all(one == files[0] for one in files),
    }


def _with_a_killed_worker(videos: Path, out: Path, options: Segmenting, device: str, threads: int) -> int:
    """Kill one of two workers after the fourth video, in the middle of another. Returns how many were killed."""
    killed = done = 0
    with (
        local_cluster(2, device, threads) as cluster,
        connected(cluster.scheduler_address, device) as client,
    ):
        for event in run(jobs_of(videos, out, options), cluster.scheduler_address):
            if isinstance(event, Outcome):
                assert event.status == "done", event.reason
                done += 1
            elif (
                isinstance(event, Working) and not killed and done >= min(4, len(list(videos.iterdir())) - 2)
            ):
                os.kill(next(iter(client.run(os.getpid, on_error="ignore").values())), signal.SIGKILL)
                killed += 1
    return killed


# -- train -------------------------------------------------------------------------------------------------------------


RECIPE = """\
base = "paper"
network = {{ size = "{size}", input_size = [{side}, {side}], edge_head = false }}
phases = [{{ until = 1.0, frames_per_batch = {batch}, clip_lengths = [5] }}]
epochs = 0.0
steps = {steps}
boundary_weight = 0.0
still_share = 0.0
log_every = {log}
save_every = 1000000
validate_every = 1000000
parts = 2
record = false
seed = {seed}
"""


def train(args: argparse.Namespace) -> dict[str, object]:
    """Each run in processes of its own; the first third of its steps, which loads and compiles, is not timed."""
    runs = {
        "1 process": (1, args.batch, 0, False),
        "2 processes, same batch": (2, args.batch, 0, False),
        "1 process, twice the batch": (1, 2 * args.batch, 0, False),
        "2 processes, twice the batch": (2, 2 * args.batch, 0, False),
        "2 processes, twice the batch, statistics frozen": (2, 2 * args.batch, 0, True),
        "1 process, another seed": (1, args.batch, 1, False),
    }
    found: dict[str, dict[str, object]] = {}
    losses: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="vivim-two") as name:
        for number, (kind, (processes, batch, seed, frozen)) in enumerate(runs.items()):
            recipe = Path(name, f"{number}.toml")
            recipe.write_text(
                RECIPE.format(
                    size=args.size,
                    side=args.side,
                    batch=batch,
                    steps=args.steps,
                    log=max(1, args.steps // 12),
                    seed=seed,
                )
            )
            steps, loss, seconds = _trained(
                recipe, Path(name, f"run{number}"), processes, frozen, args.device
            )
            timed = steps >= args.steps / 3
            rate = (steps[timed][-1] - steps[timed][0]) / (seconds[timed][-1] - seconds[timed][0])
            losses[kind] = loss
            found[kind] = {
                "steps_a_second": round(rate, 2),
                "frames_a_second": round(rate * batch, 1),
                "loss": [round(float(value), 4) for value in loss],
            }
            print(kind, found[kind], file=sys.stderr, flush=True)

    def apart(one: str, other: str) -> float:
        return round(float(np.abs(losses[one] - losses[other]).mean()), 4)

    def gain(two: str, one: str) -> float:
        return round(float(found[two]["frames_a_second"]) / float(found[one]["frames_a_second"]), 2)  # type: ignore[arg-type]

    first = "1 process"
    return {
        "size": args.size,
        "frames_per_batch": args.batch,
        "steps": args.steps,
        "runs": found,
        "speed_up_same_batch": gain("2 processes, same batch", first),
        "speed_up_twice_the_batch": gain("2 processes, twice the batch", first),
        "speed_up_twice_the_batch_in_both": gain(
            "2 processes, twice the batch", "1 process, twice the batch"
        ),
        "frozen_statistics_against_synchronised": gain(
            "2 processes, twice the batch, statistics frozen", "2 processes, twice the batch"
        ),
        "mean_distance_of_losses": {
            "two processes from one": apart("2 processes, same batch", first),
            "one seed from another": apart("1 process, another seed", first),
        },
    }


def _trained(
    recipe: Path, output: Path, processes: int, frozen: bool, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, losses and seconds of the log of a run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "benchmarks.two_gpus", "process", *(["--frozen"] if frozen else []), "--"]
    command += ["train", "--phantoms", "8", "--config", str(recipe), "-o", str(output), "--device", device]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    with (output / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("step", "loss", "seconds"))  # type: ignore[return-value]


def process(args: argparse.Namespace) -> dict[str, object]:
    """One process of a run: ``vivim train``, with the statistics of BatchNorm frozen where asked for."""
    import torch
    from vivim.cli import main as vivim

    if args.frozen:

        class Frozen(torch.nn.BatchNorm2d):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.batch_norm(
                    x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
                )

        torch.nn.SyncBatchNorm = Frozen  # type: ignore[misc]
    raise SystemExit(vivim(args.words))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (segment, train, process):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(run=command)
        sub.add_argument("--device", default="cuda")
        sub.add_argument("--json", type=Path, metavar="FILE")
        if command is segment:
            sub.add_argument("--videos", type=int, default=20)
            sub.add_argument("--frames", type=int, default=300)
            sub.add_argument("--rounds", type=int, default=2)
        elif command is train:
            sub.add_argument("--size", default="b3")
            sub.add_argument("--side", type=int, default=256)
            sub.add_argument("--batch", type=int, default=40, help="frames of all processes together")
            sub.add_argument("--steps", type=int, default=96)
        else:
            sub.add_argument("--frozen", action="store_true")
            sub.add_argument("words", nargs="*")
    args = parser.parse_args()
    return told(args.run(args), args.json)


if __name__ == "__main__":
    raise SystemExit(main())
