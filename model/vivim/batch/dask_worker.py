"""What a worker of a cluster runs: one job at a time, with a word about it now and then, until it is told to stop."""

import signal
import threading
import time
from dataclasses import asdict
from typing import Any

from vivim.batch.jobs import Job, Outcome, Working
from vivim.batch.process_video import do
from vivim.utils.system import keep_freed

SECONDS = 1.0
"""At least this long between two words about one job, so that a thousand workers do not keep the scheduler busy."""

_one_at_a_time = threading.Lock()
"""A worker that was started with several threads still holds one window of one video, and one model."""


def dask_setup(worker: Any) -> None:
    """Called by Dask when a local worker starts: Ctrl-C is for the program that has the workers, which ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(job: Job, topic: str) -> Outcome | None:
    """Do a job on a worker, and tell its progress to those who listen to `topic`. None if it was taken back."""
    from distributed import get_worker

    keep_freed()
    worker = get_worker()
    key = worker.get_current_task()
    with _one_at_a_time:
        doing, told = do(job), 0.0
        try:
            while not _taken_back(worker, key):
                event = next(doing)
                if time.monotonic() - told >= SECONDS:
                    told = time.monotonic()
                    worker.log_event(topic, {**asdict(event), "name": str(worker.name)})
        except StopIteration as end:
            return end.value
        finally:
            doing.close()
    return None


def heard(message: dict[str, Any]) -> Working:
    """What a worker told, on the other side. Under ``worker`` Dask has put its address."""
    name = message.pop("name")
    return Working(**{**message, "worker": name})


def _taken_back(worker: Any, key: object) -> bool:
    """Whether nobody waits for a task any more: its program was stopped, or the scheduler gave it to another."""
    task = worker.state.tasks.get(key)
    return task is None or task.state == "cancelled"
