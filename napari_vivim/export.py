"""Vivim Export: masks, an overlay video and measurements, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QPushButton

from napari_vivim.controller import VideoController
from napari_vivim.panel import Progress, VideoPanel, choice, heading, primary, row

FORMATS = {
    "png": "PNG masks, one a frame",
    "tiff": "TIFF stack of labels",
    "mp4": "Overlay video (mp4)",
    "csv": "Measurements (csv)",
}
SCOPES = {"All frames": "all", "Corrected and accepted frames": "corrected"}


class ExportWidget(VideoPanel):
    """What to write, of which frames, and where."""

    own_jobs = ("export",)

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer)
        self.formats = {name: QCheckBox(text) for name, text in FORMATS.items()}
        self.scope, self.target = choice(), QLineEdit()
        self.scope.addItems(list(SCOPES))
        self.target.setToolTip("Folder to write into; it is made if it is not there")
        browse = QPushButton("Browse ...")
        browse.clicked.connect(self._browse)
        self.write = primary("Export", "Write the chosen formats; files appear when they are whole")
        self.write.clicked.connect(self._export)
        self.open = QPushButton("Open folder")
        self.open.clicked.connect(lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self.target.text())))
        self.open.hide()
        self.progress = Progress()
        self.progress.cancel.clicked.connect(self._cancel)
        self.body.addWidget(heading("What"))
        for name, box in self.formats.items():
            box.setChecked(name == "png")
            box.toggled.connect(self.update_state)
            self.body.addWidget(box)
        self.body.addWidget(self.scope)
        self.body.addWidget(heading("Where"))
        self.body.addLayout(row(self.target, browse))
        self.body.addWidget(self.write)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.open)
        self.start()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Export into")
        if chosen:
            self.target.setText(chosen)

    def _cancel(self) -> None:
        if self.controller is not None:
            self.controller.cancel()

    def _export(self) -> None:
        if self.controller is not None:
            chosen = [name for name, box in self.formats.items() if box.isChecked()]
            self.controller.export(Path(self.target.text()), chosen, SCOPES[self.scope.currentText()])

    def on_controller(self, controller: VideoController) -> None:
        """Suggest a folder beside the video."""
        path = controller.video_path
        self.target.setText(str(path.with_name(f"{path.stem}-masks")))
        self.open.hide()

    def on_job_started(self) -> None:
        """Writing begins."""
        self.open.hide()
        self.progress.busy("Writing ...")

    def on_job_event(self, event: Any) -> None:
        """Show how far it is."""
        self.progress.show_step(
            event.done, event.total, f"{FORMATS[event.format]}: {event.done} of {event.total}"
        )

    def on_job_ended(self, finished: bool) -> None:
        """Offer the folder."""
        self.progress.hide()
        if finished:
            self.open.show()
            show_info(f"Exported into {self.target.text()}")

    def update_state(self) -> None:
        """The button works when a format is chosen and the session is open."""
        ready = (
            self.controller is not None and self.controller.session is not None and not self.controller.busy
        )
        self.write.setEnabled(ready and any(box.isChecked() for box in self.formats.values()))
