"""Vivim Export: write masks, an overlay video and measurements, and import masks made elsewhere."""

from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import QRegularExpression, QUrl
from qtpy.QtGui import QDesktopServices, QRegularExpressionValidator
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QSpinBox, QWidget
from vivim.errors import MasksError
from vivim.session.damage_check import damage_text
from vivim.utils.time_left import TimeLeft

from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import (
    Folded,
    button,
    choice,
    clock,
    column,
    primary,
    row,
    subheading,
)
from napari_vivim.qt.plain_text import plain
from napari_vivim.widgets.video_panel import VideoPanel

FORMATS = {
    "png": (
        "PNG masks, one per frame",
        "White where a lesion is, black elsewhere; named by the number of the frame",
    ),
    "tiff": ("TIFF stack of labels", "One file, one page per frame; opens in Fiji, too"),
    "mp4": ("Overlay video (mp4)", "The video with the masks over it, to show to others"),
    "csv": (
        "Measurements (csv)",
        "Area, diameter and place of every lesion in every frame, in mm where the scale is known",
    ),
    "coco": ("COCO JSON", "Outlines and boxes for detectors and other annotation tools"),
    "nifti": ("NIfTI", "For 3D Slicer, ITK-SNAP and nibabel; time is the fourth axis"),
    "ome-tiff": ("OME-TIFF", "A TIFF stack that knows its axes and its scale"),
    "palette": (
        "PNG with lesion numbers (DAVIS)",
        "Lesions keep their number over time; the layout of DAVIS",
    ),
    "youtube-vos": ("YouTube-VOS folder", "The layout of the YouTube-VOS challenge"),
    "dataset": ("Training clip: frames and masks", "What “vivim train” learns from"),
    "dicom-seg": (
        "DICOM SEG (names the patient)",
        "For a video that is one DICOM file; holds the patient's name, as that file does",
    ),
}
"""Title of each format, and what it is for."""
ONE_DICOM_FILE = ("DicomVideo", "EncapsulatedVideo")
"""Readers of one DICOM file, by name: to import them takes long."""
NO_DICOM = "Off: this video is not one DICOM file, and a DICOM Segmentation must point at one"
SHOWN = 4
"""So many formats are always in sight. The others under "More formats"."""
SCOPES = {"All frames": "all", "Corrected and accepted frames": "corrected"}
STATUSES = {"as corrected": "corrected", "as proposed": "proposed"}
MASKS = "Masks (*.tif *.tiff *.nii *.nii.gz *.seg.nrrd *.json *.xml *.txt)"


class ExportWidget(VideoPanel):
    """Chooses what to write, of which frames and where, and imports masks."""

    own_jobs = ("export", "import")

    def __init__(self, napari_viewer: napari.Viewer, host: VideoPanel | None = None) -> None:
        super().__init__(napari_viewer, host)
        self._job = ""
        self._written, self._time_left = "", TimeLeft()
        """The format that is written now, and the time it will take."""
        self._left_out: tuple[int, ...] = ()
        self._whole = False
        """Whether at least one format is written."""
        self._refused = ""
        """The masks that were chosen last, which may have been refused."""
        self.formats = {name: QCheckBox(title) for name, (title, _) in FORMATS.items()}
        self.body.addWidget(subheading("What"))
        self._add_formats()
        self.body.addWidget(subheading("Which frames"))
        self._add_scope()
        self.body.addWidget(subheading("Where"))
        self._add_target()
        self._add_import()
        self.start()

    def _add_formats(self) -> None:
        more = QWidget()
        inside = column(more)
        for i, (name, box) in enumerate(self.formats.items()):
            box.setChecked(name == "png")
            box.setToolTip(FORMATS[name][1])
            box.toggled.connect(self.update_state)
            (self.body if i < SHOWN else inside).addWidget(box)
        self.body.addWidget(Folded("More formats", "COCO, NIfTI, DICOM SEG and others", more))

    def _add_scope(self) -> None:
        self.scope = choice("All, those without a mask as well; or only those that a person vouches for")
        self.scope.addItems(list(SCOPES))
        self.range = QLineEdit()
        self.range.setPlaceholderText("all frames, or such as 10:200")
        self.range.setToolTip("From frame 10 up to, not including, frame 200; either may be left out")
        self.range.setValidator(QRegularExpressionValidator(QRegularExpression(r"\d*:?\d*")))
        self.range.textChanged.connect(self.update_state)
        self.min_area, self.fill_holes = QSpinBox(), QCheckBox("Fill holes")
        self.min_area.setRange(0, 1_000_000)
        self.min_area.setSpecialValueText("Keep specks")
        self.min_area.setPrefix("Drop specks under ")
        self.min_area.setSuffix(" px")
        self.min_area.setToolTip("Leave out connected parts of fewer pixels; the session keeps them")
        self.fill_holes.setToolTip("Fill what a mask encloses; the session keeps its holes")
        for widget in (self.scope, self.range, self.min_area, self.fill_holes):
            self.body.addWidget(widget)

    def _add_target(self) -> None:
        self.target = QLineEdit()
        self.target.setToolTip("Folder to write into; it is made if it is not there")
        browse = button(
            "Browse ...",
            "Choose the folder to write into",
            lambda: self.target.setText(
                QFileDialog.getExistingDirectory(self, "Export into") or self.target.text()
            ),
        )
        self.write = primary(
            "Export", "Write the chosen formats; files appear when they are whole", self._export
        )
        self.open = button(
            "Open folder",
            "Show what was written",
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self.target.text())),
        )
        self.open.hide()
        self.body.addLayout(row(self.target, browse))
        self.body.addWidget(self.open)
        self.pin(self.progress, self.write)

    def _add_import(self) -> None:
        self.status = choice("Whether they count as a person's work, or may be replaced by a model's")
        self.status.addItems(list(STATUSES))
        kept = "frames that you worked on stay as they are"
        self.take_file = button(
            "File ...",
            f"TIFF stack, NIfTI, 3D Slicer's .seg.nrrd, COCO or labelme JSON, CVAT XML; {kept}",
            lambda: self.take(QFileDialog.getOpenFileName(self, "Masks", filter=MASKS)[0]),
        )
        self.take_folder = button(
            "Folder ...",
            f"One PNG a frame, or labelme JSON or YOLO texts; {kept}",
            lambda: self.take(QFileDialog.getExistingDirectory(self, "Folder of masks")),
        )
        self.one_class = button(
            "Import as one class",
            "Take all that is not background in the masks that were refused for one class of lesion",
            lambda: self.take(self._refused, one_class=True),
        )
        self.one_class.hide()
        inner = QWidget()
        lines = column(inner)
        lines.addWidget(self.status)
        lines.addLayout(row(self.take_file, self.take_folder))
        lines.addWidget(self.one_class)
        tip = "Bring masks made elsewhere into this session"
        self.importing = Folded("Start from masks you have", tip, inner)
        if self.host is None:
            self.body.addWidget(self.importing)

    def take(self, path: str, one_class: bool = False) -> None:
        """Bring masks into the session, if a path was chosen."""
        if path and self.controller is not None:
            self._refused = path  # until they are in
            self.controller.import_masks(Path(path), STATUSES[self.status.currentText()], one_class)

    def on_problem(self, error: Exception) -> None:
        """Show the error, and offer what its message advises."""
        super().on_problem(error)
        self.one_class.setVisible(isinstance(error, MasksError) and error.one_class_helps)

    def _export(self) -> None:
        if self.controller is None:
            return
        start, _, stop = self.range.text().partition(":")
        self.controller.export(
            Path(self.target.text()),
            [name for name, box in self.formats.items() if box.isChecked()],
            only=SCOPES[self.scope.currentText()],
            frames=(int(start) if start else None, int(stop) if stop else None),
            min_area_px=self.min_area.value(),
            fill_holes=self.fill_holes.isChecked(),
        )

    def on_controller(self, controller: VideoController) -> None:
        """Suggest a folder beside the video."""
        path, box = controller.video_path, self.formats["dicom-seg"]
        one_file = type(controller.layer.data.video).__name__ in ONE_DICOM_FILE
        box.setEnabled(one_file)
        box.setChecked(box.isChecked() and one_file)
        box.setToolTip(FORMATS["dicom-seg"][1] if one_file else NO_DICOM)
        self.target.setText(str(path.with_name(f"{path.stem}-masks")))
        self.open.hide()
        self.one_class.hide()

    def on_job_started(self) -> None:
        """Show that writing or reading begins."""
        self._job = self.controller.job_name if self.controller is not None else ""
        self.open.hide()
        self.one_class.hide()
        self._written, self._left_out, self._whole = "", (), False
        self.progress.busy("Starting ...")

    def on_job_event(self, event: Any) -> None:
        """Show how far it is."""
        self._left_out = getattr(event, "damaged", ())
        self._whole |= self._job == "export" and event.done == event.total
        what = FORMATS[event.format][0] if hasattr(event, "format") else "Masks"
        if what != self._written:
            self._written = what
            self._time_left.restart(event.done)
        note = getattr(event, "note", "") or clock(self._time_left(event.done, event.total))
        text = " · ".join(filter(None, (f"{what}: {event.done} of {event.total}", note)))
        self.progress.show_step(event.done, event.total, text)

    def on_job_ended(self, finished: bool) -> None:
        """Offer the folder, or report that masks were imported."""
        self.open.setVisible(self._whole)
        if finished and self._job == "export":
            damaged = f". {damage_text(self._left_out)}, and left out or empty" if self._left_out else ""
            show_info(plain(f"Exported into {self.target.text()}{damaged}"))
        elif finished:
            show_info("The masks are in the session; frames that a person had worked on stayed as they were")

    def update_state(self) -> None:
        """Enable the button when a format is chosen, the range is whole and the session is open."""
        ready = self.session is not None and not self.busy
        chosen = any(box.isChecked() for box in self.formats.values())
        whole = not self.range.text() or ":" in self.range.text()
        self.write.setEnabled(ready and chosen and whole)
        for one in (self.take_file, self.take_folder, self.one_class):
            one.setEnabled(ready and self.session is not None and not self.session.read_only)
