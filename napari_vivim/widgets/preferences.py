"""The settings of `vivim.settings` in a dialog, and the news when anybody has changed them.

The command line and machines without a window read the same file.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import napari
from magicgui.widgets import Container, create_widget
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGroupBox, QVBoxLayout, QWidget
from vivim.errors import SettingsError
from vivim.settings import Settings, about, change_settings, read_settings

from napari_vivim.background.worker import Job, Worker, in_background
from napari_vivim.qt.napari_window import main_window
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import plain

POLL_MS = 1000
"""Milliseconds between two looks whether another program has changed the settings."""
GROUPS = {
    "inference": "Proposing",
    "display": "Masks",
    "window": "Window",
    "folders": "Folders",
    "remote": "Another machine's device",
}
"""Sections of the dialog, and their titles. Settings of other groups have windows of their own."""


class Preferences(QObject):
    """Reads the settings again and again, in a thread, so that a share that does not answer holds no window."""

    changed = Signal(object)
    """The settings are these now, whoever changed them."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker = Worker("vivim-settings")
        self._job: Job | None = None
        self._settings: Settings | None = None
        self._warned: set[str] = set()
        self._poll = QTimer(self)
        self._poll.timeout.connect(self.refresh)
        self._poll.start(POLL_MS)
        worker = self._worker
        self.destroyed.connect(lambda: worker.close())
        self.refresh()

    def refresh(self) -> None:
        """Read the settings, and report what has changed."""
        if self._job is not None:
            return

        def read() -> Iterator[tuple[Settings, tuple[str, ...]]]:
            yield read_settings()

        self._job = Job(read)
        self._job.event.connect(self._on_read)
        self._job.failed.connect(show_problem)
        self._job.ended.connect(self._on_ended)
        self._worker.submit(self._job)

    def _on_ended(self, finished: bool) -> None:
        self._job = None

    def _on_read(self, read: tuple[Settings, tuple[str, ...]]) -> None:
        before, (self._settings, problems) = self._settings, read
        for problem in problems:
            if problem not in self._warned:
                self._warned.add(problem)
                show_warning(plain(problem))
        if before is not None and self._settings != before:
            self.changed.emit(self._settings)


def open_preferences(viewer: napari.Viewer) -> QDialog:
    """Open the dialog of settings over a viewer's window."""
    dialog = SettingsDialog(main_window(viewer))
    dialog.open()
    return dialog


class SettingsDialog(QDialog):
    """All settings that have no window of their own, to be changed at once or not at all."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Preferences of Vivim")
        self.setMinimumWidth(520)
        found, _ = in_background(read_settings)
        self.inputs: dict[str, Any] = {}
        layout = QVBoxLayout(self)
        for group, title in GROUPS.items():
            names = [one.name for one in fields(Settings) if one.metadata["about"].group == group]
            inputs = {name: _input(name, getattr(found, name)) for name in names}
            self.inputs |= inputs
            box = QGroupBox(title)
            QVBoxLayout(box).addWidget(Container(widgets=list(inputs.values())).native)
            layout.addWidget(box)
        choices = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(choices.Ok | choices.Cancel | choices.RestoreDefaults)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        restore = self.buttons.button(choices.RestoreDefaults)
        assert restore is not None
        restore.clicked.connect(self._restore)
        layout.addWidget(self.buttons)

    def accept(self) -> None:
        """Keep what was chosen, or say what cannot be and stay open."""
        values = {name: widget.value for name, widget in self.inputs.items()}
        try:
            in_background(lambda: change_settings(**values))
        except SettingsError as error:
            show_warning(plain(str(error)))
            return
        super().accept()

    def _restore(self) -> None:
        for name, widget in self.inputs.items():
            widget.value = getattr(Settings(), name)


def _input(name: str, value: Any) -> Any:
    """The widget of magicgui that a setting is changed with."""
    limits = about(name)
    options: dict[str, Any] = {"tooltip": limits.help}
    if limits.choices:
        options["choices"] = limits.choices
    elif limits.minimum is not None:
        options |= {"min": limits.minimum, "max": limits.maximum}
    return create_widget(value=value, name=name, label=limits.title, options=options)
