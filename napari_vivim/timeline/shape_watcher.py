"""Keep areas, jumps in shape and the frames suggested next up to date."""

import time

from qtpy.QtCore import Signal
from vivim.analysis.active_learning import suggest_frames
from vivim.analysis.shape_changes import ShapeTrack
from vivim.session import Session

from napari_vivim.background.session_watcher import SessionWatcher

REPORT_SECONDS = 0.2
"""New areas are reported at most this often."""
SUGGESTED = 5


class ShapeWatcher(SessionWatcher):
    """Measures what changes in a session. Signals arrive in the thread it was made in."""

    measured = Signal()
    """`track` has news."""
    suggested = Signal(object)
    """The frames worth correcting next: a list of `Suggestion`."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.track = ShapeTrack(session)
        self.begin()

    def on_changed(self, frames: set[int]) -> None:
        """Measure the frames."""
        reported = time.monotonic()
        for _ in self.track.measure(frames, self.stop):
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self.measured.emit()
        if not self.stop.is_set():
            self.measured.emit()
            self.stop.wait(REPORT_SECONDS)  # what changes meanwhile is measured together

    def on_quiet(self) -> None:
        """Suggest frames again."""
        found = suggest_frames(self.session, SUGGESTED)
        if not self.stop.is_set():
            self.suggested.emit(found)
