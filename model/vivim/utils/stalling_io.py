"""Advance a generator in a background thread, so that the caller can time out.

A stalled network share blocks the thread that reads or writes there, and no signal reaches it. That thread must
therefore be neither the window's nor the one that checks whether the work was cancelled.
"""

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

SECONDS = 0.5
"""Time to wait for a step before the caller is told that it takes longer."""


def in_background(steps: Generator[T, None, None], name: str) -> Generator[T | None, None, None]:
    """Advance a generator in a background thread, one step at a time.

    Yields what `steps` yields, and None after every `SECONDS` without a next step. `steps` is advanced and closed in
    that thread only. Closing this generator closes it at once, or as soon as the step under way ends.
    """
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    taken: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            while wanted.get():
                taken.put((next(steps),))
        except StopIteration:
            taken.put(None)
        except BaseException as error:  # handed to whoever waits
            taken.put(error)
        finally:
            steps.close()

    # a daemon, so that a stalled one does not keep the program
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while (yield from _next(wanted, taken)):
            pass
    finally:
        wanted.put(False)
        thread.join(SECONDS)


def _next(
    wanted: queue.SimpleQueue[bool], taken: queue.SimpleQueue[tuple[T] | BaseException | None]
) -> Generator[T | None, None, bool]:
    """Ask for a step and wait for it. False if there are no more."""
    wanted.put(True)
    while True:
        try:
            step = taken.get(timeout=SECONDS)
        except queue.Empty:
            yield None
            continue
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            yield step[0]
        return step is not None
