"""`run`: a whole list of videos, with the manifest of what is done and the table at the end."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from vivim.batch.dask_cluster import address_of, connected, dashboard_of
from vivim.batch.jobs import DONE, SESSION, SKIPPED, Job, Outcome
from vivim.batch.manifest import Manifest, nameless, record_of
from vivim.batch.scheduler import Event, run_here, run_on
from vivim.batch.summary import write_summary
from vivim.session.metadata import FILE, Description
from vivim.session.video_link import remember_place


@dataclass(frozen=True)
class Connected:
    """The workers are there, or will be."""

    scheduler: str
    """Its address."""
    workers: int
    """How many there are now; more may come and go."""
    dashboard: str | None
    """Address of Dask's dashboard."""


def run(
    jobs: Sequence[Job], cluster: str | None = None, device: str = "auto"
) -> Generator[Connected | Event, None, None]:
    """Do jobs that write into one output folder, but for what its manifest says is done.

    Yields one `Outcome` a job, in the order they end. Closing the generator stops; what is done by then is in the
    manifest and in the table. `cluster` is as for `vivim.batch.dask_cluster.connected`; this process by default.
    """
    out = Path(jobs[0].out)
    out.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(out)
    known = manifest.read()
    by_stem = {job.stem: job for job in jobs}
    ended: dict[str, Outcome] = {}
    prepared = (replace(job, before=known.get((job.options.task, job.stem))) for job in jobs)
    try:
        with ExitStack() as stack:
            if cluster is None:
                events = run_here(prepared)
            else:
                client = stack.enter_context(connected(cluster, device))
                yield Connected(address_of(client), len(client.nthreads()), dashboard_of(client))
                events = run_on(client, prepared)
            for event in stack.enter_context(closing(events)):
                if isinstance(event, Outcome):
                    ended[event.stem] = event
                    if event.status != SKIPPED:
                        manifest.append(record_of(by_stem[event.stem], event))
                    if cluster is not None and event.status == DONE:
                        _remember_video(by_stem[event.stem])
                yield event
    finally:
        rows = [(job, ended[job.stem]) for job in jobs if job.stem in ended]
        if rows:  # else nothing was begun, and the table of an earlier run stays
            write_summary(
                [
                    replace(outcome, reason=nameless(outcome.reason or outcome.note, job))
                    for job, outcome in rows
                ],
                out,
            )


def _remember_video(job: Job) -> None:
    """Note here where the video of a new session is: the worker that made it may keep its notes on another machine."""
    home = job.folder / SESSION
    if job.options.task == "segment" and (home / FILE).is_file():
        remember_place(Description.read(home / FILE), home, Path(job.path))
