"""Work through jobs, one after another in this process, or on the workers of a cluster, a bounded number at a time.

Both are generators of `Working` and, one a job, `Outcome`. The jobs may be a generator too: they are taken up only as
fast as they are done, so that neither this process nor the scheduler ever knows of more than a few for each worker.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from vivim.batch.dask_cluster import Newcomers
from vivim.batch.dask_worker import heard, work
from vivim.batch.jobs import FAILED, LONG, PART, WAITING, Job, Outcome, Segmenting, Working
from vivim.batch.process_video import do
from vivim.batch.splitting import cut
from vivim.errors import BatchError
from vivim.utils.system import keep_freed

if TYPE_CHECKING:
    from distributed import Client, Future

PER_WORKER = 2
"""Jobs on the way for each worker: one that it does, and the next, so that it never waits for this process."""
RECOUNT_SECONDS = 5.0
"""How often the workers are counted; they may come and go."""

Event = Working | Outcome
Events = Generator[Event, None, None]


def run_here(jobs: Iterable[Job]) -> Events:
    """Do jobs in this process, one after another."""
    keep_freed()
    waiting = _Waiting(jobs)
    for job in waiting:
        ended = waiting.after(job, (yield from do(job)))
        if ended is not None:
            yield ended


def run_on(client: Client, jobs: Iterable[Job], work: Callable[[Job, str], Outcome | None] = work) -> Events:
    """Have jobs, taken up as they are needed, done by the workers of a cluster, who run `work`.

    Closing the generator takes back what is on the way; workers stop at their next frame.
    """
    run = uuid.uuid4().hex[:8]
    topic = f"vivim-{run}"
    arrived: SimpleQueue[Future | Working] = SimpleQueue()
    waiting, newcomers = _Waiting(jobs), Newcomers(client)
    places = _Places(client, newcomers)
    running: dict[str, tuple[Future, Job]] = {}
    client.subscribe_topic(topic, lambda event: arrived.put(heard(event[1])))
    newcomers.begin()
    try:
        for number, job in enumerate(waiting):
            key = f"{job.options.task}-{run}-{number}"  # names no video: every user of the scheduler sees it
            future = client.submit(work, job, topic, key=key, pure=False)
            running[key] = future, job
            future.add_done_callback(arrived.put)
            while running and (len(running) >= places() or waiting.empty()):
                try:
                    event = arrived.get(timeout=RECOUNT_SECONDS)
                except Empty:
                    if not places.workers:
                        yield Working(job.stem, WAITING, 0, 1)
                    continue
                if isinstance(event, Working):
                    yield event
                    continue
                future, job = running.pop(str(event.key))
                ended = waiting.after(job, _outcome(future, job, client))
                future.release()
                if ended is not None:
                    yield ended
    finally:
        if client.status == "running":
            client.unsubscribe_topic(topic)
            newcomers.end()
            client.cancel([future for future, _ in running.values()], force=True)


class _Places:
    """How many jobs may be on the way. `workers` are those of the latest count."""

    def __init__(self, client: Client, newcomers: Newcomers) -> None:
        self._client, self._newcomers = client, newcomers
        self._counted, self.workers = -math.inf, 0

    def __call__(self) -> int:
        if time.monotonic() - self._counted >= RECOUNT_SECONDS:
            self._counted = time.monotonic()
            with suppress(OSError):  # the scheduler is lost: its jobs say so
                there = self._client.nthreads()
                self.workers = len(there)
                self._newcomers.ask(there)
        return max(1, PER_WORKER * self.workers)


class _Waiting:
    """Jobs to come. The ranges of a long video go before the next video, and are joined when the last is done."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._first: deque[Job] = deque()
        self._cut: dict[str, _Cut] = {}

    def __iter__(self) -> Iterator[Job]:
        while not self.empty():
            yield self._first.popleft()

    def empty(self) -> bool:
        """Whether there are none at the moment. Ranges under way may bring more."""
        if not self._first:
            self._first.extend(islice(self._jobs, 1))
        return not self._first

    def after(self, job: Job, outcome: Outcome) -> Outcome | None:
        """Take note of how a job ended. Returns what is to be said of its video, if that has ended with it."""
        if outcome.status == LONG:
            assert isinstance(job.options, Segmenting)
            parts = cut(outcome.frames, job.options)
            self._cut[job.stem] = _Cut(tuple(parts), set(parts), outcome.note)
            self._first.extendleft(
                replace(job, part=part, content=outcome.content) for part in reversed(parts)
            )
            return None
        video = self._cut.get(job.stem)
        if job.part is None:
            self._cut.pop(job.stem, None)
            if video is None:
                return outcome
            note = " ".join(filter(None, (video.note, outcome.note)))
            return replace(outcome, seconds=round(outcome.seconds + video.seconds, 3), note=note)
        if video is None:
            return None  # another of its ranges has failed
        if outcome.status != PART:
            del self._cut[job.stem]
            self._first = deque(other for other in self._first if other.stem != job.stem)
            return outcome
        video.missing.discard(job.part)
        video.seconds += outcome.seconds
        if not video.missing:
            self._first.appendleft(replace(job, part=None, parts=video.parts))
        return None


@dataclass
class _Cut:
    """A long video that is done in ranges. `seconds` is the time they took, all workers together."""

    parts: tuple[tuple[int, int], ...]
    missing: set[tuple[int, int]]
    note: str = ""
    seconds: float = 0.0


def _outcome(future: Future, job: Job, client: Client) -> Outcome:
    """What came back for a job, also where nothing did. Raises `BatchError` if the scheduler is lost."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result() or Outcome(
            job.stem, FAILED, reason="A worker gave it up. Run the same command again."
        )
    if client.status != "running" or future.status != "error":
        raise BatchError(
            "The scheduler is lost. Start it again and repeat the same command: it goes on with what is missing."
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        reason = (
            f"{error.allowed_failures + 1} workers died over it: the machine has too little memory, or the file "
            "crashes its decoder. Try it alone, without --cluster."
        )
    else:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        reason = (
            f"It could not be handed out or done ({told}): scheduler and workers need the same Dask as here."
        )
    return Outcome(job.stem, FAILED, reason=reason)
