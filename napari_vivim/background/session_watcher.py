"""Follows what changes in a session, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QObject, Signal
from vivim.errors import VivimError
from vivim.session import Session

QUIET_SECONDS = 0.5
"""Nothing has changed for so long: time for what looks at the whole video."""
PAUSE_SECONDS = 0.3
"""A person has not painted for so long: what is measured while they do holds the interpreter's lock, and the brush."""


class FrameWatch(QObject):
    """Base of those that follow a session; at first all frames that are not empty count as changed.

    Subclasses say what to do with changed frames (`look`), and once nothing has changed for a while (`settle`); both
    run in the thread, while no person paints. `begin` starts it. What goes wrong there arrives as `failed`, and
    following goes on; signals arrive in the thread it was made in.
    """

    failed = Signal(object)
    """A `VivimError`."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.stop = threading.Event()
        self._changed = set(np.flatnonzero(session.statuses).tolist())
        self._painted = -PAUSE_SECONDS
        self._news = threading.Condition()
        self._forget: Callable[[], None] = session.on_change(self._on_change)
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def begin(self) -> None:
        """Start to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, without waiting for the thread to notice; safe to call twice."""
        self._forget()
        self.stop.set()
        with self._news:
            self._news.notify_all()

    def look(self, frames: set[int]) -> None:
        """Some frames have changed."""
        raise NotImplementedError

    def settle(self) -> None:
        """Nothing has changed for a while."""

    def _on_change(self, frame: int, status: str) -> None:
        with self._news:
            asleep = not self._changed  # else it knows already, and is not woken with each dab
            self._changed.add(frame)
            if status != "proposed":
                self._painted = time.monotonic()
            if asleep:
                self._news.notify_all()

    def _wait_for_a_pause(self) -> None:
        while (left := self._painted + PAUSE_SECONDS - time.monotonic()) > 0 and not self.stop.is_set():
            self._news.wait(left)

    def _run(self) -> None:
        stale = True
        while not self.stop.is_set():
            with self._news:
                self._news.wait_for(
                    lambda: self._changed or self.stop.is_set(), QUIET_SECONDS if stale else None
                )
                self._wait_for_a_pause()
                frames, self._changed = self._changed, set()
            try:
                if frames:
                    self.look(frames)
                    stale = True
                elif stale and not self.stop.is_set():
                    stale = False
                    self.settle()
            except VivimError as error:
                if not self.stop.is_set():  # else the session was closed meanwhile
                    self.failed.emit(error)
