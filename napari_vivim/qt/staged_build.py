"""Building a dock part by part, each in a turn of the event loop of its own, so that the window draws in between."""

from collections import deque
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer


def in_turns(owner: QObject, *steps: Callable[[], object]) -> None:
    """Take some steps in order, one a turn of the event loop, from the next turn on, until their owner is gone."""
    left, timer = deque(steps), QTimer(owner)

    def take() -> None:
        step = left.popleft()
        if not left:
            timer.stop()
            timer.deleteLater()
        step()

    timer.timeout.connect(take)
    timer.start(0)
