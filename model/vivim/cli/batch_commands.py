"""What `vivim segment` and `vivim export` share when there are many videos: cluster, progress, result, failures."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.cli.options import WHAT_TO_DO, left_out, say
from vivim.errors import BatchError

if TYPE_CHECKING:
    from vivim.batch.inputs import Found
    from vivim.batch.jobs import Exporting, Job, Outcome, Segmenting, Working
    from vivim.cli.batch_progress import Board

NAMED = 3
"""Failures that the last line names; the table has all."""


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Declare ``--cluster``."""
    parser.add_argument(
        "--cluster",
        type=cluster,
        metavar="local[:N]|ADDRESS",
        help="many videos at a time: N processes on this machine (default: one a device), or the workers of the Dask "
        "scheduler at ADDRESS, as tcp://host:8786",
    )


def cluster(text: str) -> str:
    """``local``, ``local:4`` or the address of a scheduler."""
    from vivim.batch.dask_cluster import is_cluster

    if not is_cluster(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither local, local:N nor an address as tcp://host:8786"
        )
    return text


def go(
    found: Sequence[Found], args: argparse.Namespace, options: Segmenting | Exporting, device: str = "cpu"
) -> dict[str, Any]:
    """Do all, showing how far it is, and return what ``--json`` prints: an entry a video, and where the table is.

    Raises `BatchError` if some failed, or have damaged frames and that is not allowed. The others are done.
    """
    from vivim.batch.jobs import FAILED, Job
    from vivim.batch.summary import NAME

    here = args.cluster is None  # a worker may have been started in another folder
    out = str(args.output if here else args.output.absolute())
    jobs = [Job(str(one.path if here else one.path.absolute()), one.stem, out, options) for one in found]
    outcomes = _one_by_one(jobs) if here else _on_workers(jobs, args.cluster, device)
    videos = [_entry(job, outcomes[job.stem]) for job in jobs if outcomes[job.stem].status != FAILED]
    failed = [(job.path, outcomes[job.stem].reason) for job in jobs if outcomes[job.stem].status == FAILED]
    result = {"videos": videos, "summary": str(args.output / NAME)}
    if failed:
        result["failed"] = [{"video": path, "reason": reason} for path, reason in failed]
        raise BatchError(_named(failed, len(jobs), args.output / NAME), result)
    damaged = [(job.path, outcomes[job.stem].damaged) for job in jobs if outcomes[job.stem].damaged]
    said = [f"{path}: {left_out(frames)}" for path, frames in damaged]
    if said and not args.allow_damaged:
        rest = f" And {len(said) - NAMED} more." if len(said) > NAMED else ""
        raise BatchError(f"{' '.join(said[:NAMED])}{rest} {WHAT_TO_DO}", result)
    for text in said:
        say(text)
    return result


def _one_by_one(jobs: Sequence[Job]) -> dict[str, Outcome]:
    """In this process, with a line of progress for the video under way."""
    from vivim.batch.jobs import FAILED, SKIPPED, Outcome, Working
    from vivim.batch.run import run
    from vivim.cli.progress import Progress

    outcomes: dict[str, Outcome] = {}
    paths = {job.stem: Path(job.path) for job in jobs}
    with Progress("") as progress, closing(run(jobs)) as events:
        for event in events:
            count = f"[{len(outcomes) + 1}/{len(jobs)}] " if len(jobs) > 1 else ""
            if isinstance(event, Working) and event.stage != "measuring":
                _show(progress, event, f"{count}{paths[event.stem].name}")
            elif isinstance(event, Outcome):
                outcomes[event.stem] = event
                path, folder = paths[event.stem], Path(jobs[0].out, event.stem)
                if event.note:
                    say(f"{path}: {event.note}")
                if event.status == FAILED and len(jobs) > 1:
                    say(f"{path}: {event.reason}")
                elif event.status == SKIPPED:
                    _print(f"{path}: done before, in {folder}")
                elif event.status != FAILED:
                    _print(f"{path}: {event.frames} frames in {event.seconds:.1f} s, written to {folder}")
    return outcomes


def _print(text: str) -> None:
    """Print a line that may name files whose names are no UTF-8."""
    print(text.encode(errors="backslashreplace").decode())


def _show(progress: Any, event: Working, label: str) -> None:
    stage, _, note = event.stage.partition(" ")
    progress.phase(f"{label}: {stage}")
    progress(event.done, event.total, event.seconds_left, note)


def _on_workers(jobs: Sequence[Job], address: str, device: str) -> dict[str, Outcome]:
    from vivim.batch.jobs import Outcome
    from vivim.batch.run import Connected, run
    from vivim.cli.batch_progress import Board

    outcomes: dict[str, Outcome] = {}
    with Board(len(jobs)) as board, closing(run(jobs, address, device)) as events:
        for event in events:
            if isinstance(event, Connected):
                # what they have to say, the board or an error says
                for name in ("distributed", "distributed.client"):
                    logging.getLogger(name).setLevel(logging.CRITICAL)
                _introduce(event, address, board)
                continue
            board(event)
            if isinstance(event, Outcome):
                outcomes[event.stem] = event
    return outcomes


def _introduce(connected: Any, address: str, board: Board) -> None:
    """Say where the workers are, and how to start more."""
    from vivim.batch.dask_cluster import worker_command

    workers = "1 worker" if connected.workers == 1 else f"{connected.workers} workers"
    board.say(f"{workers} at {connected.scheduler}")
    board.say(f"dashboard: {connected.dashboard or 'none; pip install bokeh gives Dask one'}")
    if not address.startswith("local"):
        board.say(f"to add a worker, on its machine: {worker_command(connected.scheduler)}")


def _entry(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What ``--json`` says of one video."""
    from vivim.batch.jobs import SESSION

    session = (
        {"session": str(job.folder / SESSION)} if job.options.task == "segment" else {"session": job.path}
    )
    return {
        "video": job.path,
        "status": outcome.status,
        "frames": outcome.frames,
        "seconds": outcome.seconds,
        "frames_per_second": outcome.frames_per_second,
        "lesion_frames": outcome.lesion_frames,
        "mean_area_px": outcome.mean_area_px,
        "mean_area_mm2": outcome.mean_area_mm2,
        "damaged": list(outcome.damaged),
        **session,
        "files": {
            name: str(Path(job.out, path))
            for name, path in outcome.files.items()
            if name in job.options.formats
        },
        **({"note": outcome.note} if outcome.note else {}),
    }


def _named(failed: Sequence[tuple[str, str]], total: int, table: Path) -> str:
    """The first failures in a sentence each, or the reason alone of a single video."""
    texts = [reason if Path(path).name in reason else f"{path}: {reason}" for path, reason in failed]
    if total == 1:
        return texts[0]
    rest = f" The others are in {table}." if len(texts) > NAMED else ""
    return f"{len(texts)} of {total} videos failed. " + " ".join(texts[:NAMED]) + rest
