"""Closing a session without holding the window: in a thread that waits for what is still being written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from vivim.errors import VivimError
from vivim.session import Session

from napari_vivim.background.worker import Job

_log = logging.getLogger(__name__)
THREAD = "vivim-closing"
AT_ONCE = 0.02
"""Seconds the window waits: a session mostly closes sooner, and can be opened elsewhere at once."""
PATIENCE = 10.0
"""Seconds a job that was cancelled may take to stop."""


def close_in_background(
    sessions: Sequence[Session], jobs: Sequence[Job], failed: Callable[[Exception], object]
) -> None:
    """Close sessions once `jobs`, which were cancelled, have stopped.

    The thread is no daemon: a program that ends waits for it, so that what was acknowledged is on disk.

    Parameters
    ----------
    sessions : sequence of Session
        To be closed; one of the jobs may still add one, which it was opening.
    jobs : sequence of Job
        All that still work on them.
    failed : callable
        Called in the thread with a `VivimError` if a session cannot be closed properly.
    """

    def work() -> None:
        for job in jobs:
            if not job.over.wait(PATIENCE):
                _log.warning("A job has not stopped %g s after it was cancelled.", PATIENCE)
        for session in sessions:
            try:
                session.close()
            except VivimError as error:
                _log.error("%s", error)
                failed(error)

    thread = threading.Thread(target=work, name=THREAD)
    thread.start()
    thread.join(AT_ONCE)


def wait_for_closing() -> None:
    """Wait until sessions that are being closed are closed; called in a worker, before one is opened."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join()
