"""Follow the changes of a session, in a thread of its own."""

import threading
import time
from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QObject, Signal
from vivim.errors import VivimError
from vivim.session import Session

QUIET_SECONDS = 0.5
"""Seconds without a change after which the whole video is looked at."""
PAUSE_SECONDS = 0.3
"""Seconds without a stroke after which frames are measured: measuring holds the interpreter's lock, and the brush."""


class SessionWatcher(QObject):
    """Base of what follows a session. At first all frames that are not empty count as changed.

    Subclasses implement `on_changed` for changed frames, and `on_quiet` for when nothing has changed for a while. Both
    run in the thread, while no person paints. `begin` starts it. An error arrives as `failed`, and following goes on.
    Signals arrive in the thread that the watcher was made in.
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
        """Stop following, without waiting for the thread to notice. Safe to call twice."""
        self._forget()
        self.stop.set()
        with self._news:
            self._news.notify_all()

    def on_changed(self, frames: set[int]) -> None:
        """Do what is due when some frames have changed."""
        raise NotImplementedError

    def on_quiet(self) -> None:
        """Do what is due when nothing has changed for a while."""

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
                    self.on_changed(frames)
                    stale = True
                elif stale and not self.stop.is_set():
                    stale = False
                    self.on_quiet()
            except VivimError as error:
                if not self.stop.is_set():  # else the session was closed meanwhile
                    self.failed.emit(error)
