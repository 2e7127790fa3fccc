"""Close sessions and videos in a thread, so that the window waits for no disk."""

import logging
import threading
from collections.abc import Callable, Sequence

from vivim.errors import VivimError
from vivim.session import Session
from vivim.video import Video

from napari_vivim.background.worker import Job

_log = logging.getLogger(__name__)
THREAD = "vivim-closing"
AT_ONCE = 0.02
"""Seconds the window waits: a session mostly closes sooner, and can be opened elsewhere at once."""
PATIENCE = 10.0
"""Seconds a job that was cancelled may take to stop."""


def close_in_background(
    opened: Sequence[Session | Video], jobs: Sequence[Job], failed: Callable[[Exception], object]
) -> None:
    """Close sessions and videos, in order, once `jobs`, which were cancelled, have stopped.

    The thread is no daemon: a program that ends waits for it, so that what was acknowledged is on disk. It calls
    `failed` with a `VivimError` if one cannot be closed properly.
    """

    def work() -> None:
        for job in jobs:
            if not job.over.wait(PATIENCE):
                _log.warning("A job has not stopped %g s after it was cancelled.", PATIENCE)
        for one in opened:
            try:
                one.close()
            except VivimError as error:
                _log.error("%s", error)
                failed(error)

    thread = threading.Thread(target=work, name=THREAD)
    thread.start()
    thread.join(AT_ONCE)


def wait_for_closing() -> None:
    """Wait in a worker until sessions that are being closed are closed."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join()
