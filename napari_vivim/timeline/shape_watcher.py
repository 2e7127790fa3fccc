"""Areas, jumps in shape and the frames suggested next, always up to date."""

from __future__ import annotations

import time

from qtpy.QtCore import Signal
from vivim.analysis.active_learning import suggest_frames
from vivim.analysis.shape_changes import ShapeTrack
from vivim.session import Session

from napari_vivim.background.session_watcher import FrameWatch

REPORT_SECONDS = 0.2
"""New areas are reported at most this often."""
SUGGESTED = 5


class ShapeWatch(FrameWatch):
    """Measures what changes in a session; signals arrive in the thread it was made in."""

    measured = Signal()
    """`track` has news."""
    suggested = Signal(object)
    """The frames worth correcting next: a list of `Suggestion`."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.track = ShapeTrack(session)
        self.begin()

    def look(self, frames: set[int]) -> None:
        """Measure them."""
        said = time.monotonic()
        for _ in self.track.measure(frames, self.stop):
            if time.monotonic() - said > REPORT_SECONDS:
                said = time.monotonic()
                self.measured.emit()
        if not self.stop.is_set():
            self.measured.emit()
            self.stop.wait(REPORT_SECONDS)  # what changes meanwhile is measured together

    def settle(self) -> None:
        """Suggest frames anew."""
        found = suggest_frames(self.session, SUGGESTED)
        if not self.stop.is_set():
            self.suggested.emit(found)
