"""Steps taken in a thread of their own, so that whoever waits for them can tell, and may stop waiting.

A network share that stalls holds the thread that reads or writes there for as long as it likes, and no signal reaches
it. That thread must therefore be neither the window's nor the one that looks whether the work was cancelled.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

SECONDS = 0.5
"""How long a step is waited for before it is said that it takes its time."""


def in_background(steps: Generator[T, None, None], name: str) -> Generator[T | None, None, None]:
    """Take the steps of a generator, one at a time, in a thread of its own.

    Parameters
    ----------
    steps : generator
        Advanced and closed in that thread only. It is to put away what it has half done when it is closed.
    name : str
        Of the thread.

    Yields
    ------
    object or None
        What `steps` yields; None whenever its next step has not come for another `SECONDS`. Closing this generator
        closes `steps`: at once, or, if a step is under way that does not end, as soon as it does.

    Raises
    ------
    Exception
        What a step raises.
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

    thread = threading.Thread(target=work, name=name, daemon=True)  # a stalled one does not keep the program
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
    """Ask for a step and wait for it; False if there are no more."""
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
