"""Follows a session in the background: areas, jumps in shape, the frames suggested next, always up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QObject, Signal
from vivim.errors import VivimError
from vivim.session import Session
from vivim.shape import ShapeTrack
from vivim.suggest import Suggestion, suggestions

REPORT_SECONDS = 0.2
"""New areas are reported at most this often."""
QUIET_SECONDS = 0.5
"""Suggestions are made anew when nothing has changed for so long."""
SUGGESTED = 5


class ShapeWatch(QObject):
    """Measures what changes in a session, in a thread of its own; signals arrive in the thread it was made in."""

    measured = Signal()
    """`track` has news."""
    suggested = Signal(object)
    """The frames worth correcting next: a list of `Suggestion`."""
    failed = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.track = ShapeTrack(session)
        self._session = session
        self._changed = set(np.flatnonzero(session.statuses).tolist())
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._forget: Callable[[], None] = session.on_change(self._on_change)
        self._thread = threading.Thread(target=self._run, name="vivim-shapes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following; safe to call twice."""
        self._forget()
        self._stop.set()
        with self._news:
            self._news.notify_all()
        self._thread.join()

    def _on_change(self, frame: int, status: str) -> None:
        with self._news:
            self._changed.add(frame)
            self._news.notify_all()

    def _run(self) -> None:
        stale = True
        while not self._stop.is_set():
            with self._news:
                self._news.wait_for(
                    lambda: self._changed or self._stop.is_set(), QUIET_SECONDS if stale else None
                )
                frames, self._changed = self._changed, set()
            if frames:
                self._measure(frames)
                stale = True
            elif stale and not self._stop.is_set():
                self._suggest()
                stale = False

    def _measure(self, frames: set[int]) -> None:
        said = time.monotonic()
        for _ in self.track.measure(frames, self._stop):
            if time.monotonic() - said > REPORT_SECONDS:
                said = time.monotonic()
                self.measured.emit()
        if not self._stop.is_set():
            self.measured.emit()
            self._stop.wait(REPORT_SECONDS)  # what changes meanwhile is measured together

    def _suggest(self) -> None:
        try:
            found: list[Suggestion] = suggestions(self._session, SUGGESTED)
        except VivimError as error:
            self.failed.emit(error)
            return
        if not self._stop.is_set():
            self.suggested.emit(found)
