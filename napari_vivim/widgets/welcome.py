"""What a dock shows while no video is open."""

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout, QWidget
from vivim.video.open import SUFFIXES

from napari_vivim.qt.components import Quiet, button, primary
from napari_vivim.qt.notifications import guarded

PLUGIN, SAMPLE = "napari-vivim", "ultrasound_phantom"
HINT = "<b>No video yet.</b><br>Drag a video onto the window,<br>or a folder of pictures."
STEPS = (
    "<b>Propose</b>: a model outlines the lesion.<br>"
    "<b>Review</b>: correct a few frames; the others follow.<br>"
    "<b>Learn</b>: the model learns what you meant.<br>"
    "<b>Export</b>: masks, measurements, an overlay video."
)
FILES = f"Videos ({' '.join(f'*{suffix}' for suffix in SUFFIXES)});;All files (*)"


class Welcome(QWidget):
    """Opens a video, or the synthetic one, in a viewer."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.hint, self.steps = QLabel(HINT), Quiet()
        self.steps.setTextFormat(Qt.TextFormat.RichText)  # of this program alone
        self.steps.setText(STEPS)
        self.hint.setTextFormat(Qt.TextFormat.RichText)
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.open = primary("Open a video ...", "Your work on it is kept in a folder beside it", self._choose)
        tip = "A synthetic ultrasound video with a lesion; more in File › Open Sample › Vivim"
        self.sample = button(
            "Try it on a sample", tip, lambda: guarded(lambda: viewer.open_sample(PLUGIN, SAMPLE))
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 24, 0, 0)
        layout.setSpacing(10)
        for part in (self.hint, self.open, self.sample, self.steps):
            layout.addWidget(part)

    def _choose(self) -> None:
        chosen = QFileDialog.getOpenFileName(self, "Open a video", filter=FILES)[0]
        if chosen:
            guarded(lambda: self._viewer.open(chosen, plugin=PLUGIN))
