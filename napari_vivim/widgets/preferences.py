"""The settings in the window: on napari's page of preferences where it has one for plugins, else in a dialog of ours.

`vivim.settings` is the one source of truth, because the command line and machines without a window read it too. The
page is a view of it. What a person changed on the page while no widget of this plugin was open is told by what the
page showed when last in step (`SEEN`), and wins; everything else on the page follows the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Any

import napari
from napari.utils.notifications import show_warning
from qtpy.QtCore import QFileSystemWatcher, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGroupBox,
    QLineEdit,
    QListWidget,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from vivim.errors import SettingsError
from vivim.settings import About, Settings, about, change_settings, read_settings, settings, vivim_home
from vivim.utils.atomic_files import atomic_write

from napari_vivim.background.worker import Job, Worker
from napari_vivim.qt.napari_window import main_window
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import plain

PLUGIN, DISPLAY_NAME = "napari-vivim", "Vivim"
PREFERENCES_ACTION, PAGES = "napari.window.file.show_preferences_dialog", "Preferences"
"""Names of napari's: of the menu's entry, and of the list of pages that it opens."""
SEEN = "napari-page.json"
QUIET_MS = 600
"""A text on the page is taken over when nobody has typed for so long."""
GROUPS = {
    "inference": "Proposing",
    "display": "Masks",
    "window": "Window",
    "folders": "Folders",
    "remote": "Another machine's device",
}
"""Sections of the page, and their titles; settings of other groups have windows of their own."""


def shown() -> dict[str, list[str]]:
    """Names of the settings on the page, by section."""
    names: dict[str, list[str]] = {group: [] for group in GROUPS}
    for one in fields(Settings):
        group = one.metadata["about"].group
        if group in names:
            names[group].append(one.name)
    return names


def napari_page() -> Any:
    """napari's settings of this plugin, one object a section; None where this napari has no such page."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before 0.9
        return None
    page = get_plugin_settings().get(PLUGIN)
    return page if page is not None and all(hasattr(page, group) for group in GROUPS) else None


class Preferences(QObject):
    """Keeps napari's page and the settings in step while a widget is open, and says when something changed."""

    changed = Signal(object)
    """The settings are these now."""
    _home_made = Signal(object)
    _read = Signal(object)
    _failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._page = napari_page()
        self._filling = False
        self._worker = Worker("vivim-settings")
        self._job: Job | None = None
        self._refused: set[str] = set()
        self._warned: set[str] = set()
        self._settings = settings(at_once=True)
        self._watcher = QFileSystemWatcher(self)
        self._watcher.directoryChanged.connect(self.refresh)
        self._home_made.connect(self._watcher.addPath)
        self._read.connect(self._show)
        self._failed.connect(show_problem)
        self._begin(_make_home, self._home_made)
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(QUIET_MS)
        self._typed.timeout.connect(self._take_page)
        if self._page is not None:
            for group in GROUPS:
                getattr(self._page, group).events.connect(self._on_page)
            self._take_page()
        else:
            self.refresh()
        page, on_page, worker = self._page, self._on_page, self._worker
        self.destroyed.connect(lambda: _let_go(page, on_page, worker))

    def refresh(self) -> None:
        """Read the settings in the background, and show them, whoever changed them."""
        self._begin(read_settings, self._read)

    def _begin(self, work: Callable[[], Any], done: Any = None) -> None:
        """Do work with the disk in the background, and emit what it returns by the signal `done`."""

        def steps() -> Iterator[None]:
            try:
                result = work()
            except SettingsError as error:
                self._failed.emit(error)
                return
            if done is not None:
                done.emit(result)
            yield

        self._worker.submit(Job(steps))

    def _show(self, read: tuple[Settings, tuple[str, ...]]) -> None:
        found, problems = read
        for problem in problems:
            if problem not in self._warned:
                show_warning(plain(problem))
        self._warned.update(problems)
        changed = found != self._settings
        self._settings = found
        if self._page is not None and not self._typed.isActive() and self._job is None:
            self._fill_page()
        if changed:
            self.changed.emit(found)

    def _on_page(self, event: Any = None) -> None:
        if not self._filling:
            self._typed.start()

    def _take_page(self) -> None:
        """Take over what the person changed on the page."""
        if self._job is not None:
            self._typed.start()
            return
        shown = self._on_the_page()
        self._refused = set()
        self._job = Job(lambda: _changed_one_by_one(shown))
        self._job.event.connect(self._refuse)
        self._job.failed.connect(show_problem)
        self._job.ended.connect(self._on_taken)
        self._worker.submit(self._job)

    def _refuse(self, problem: tuple[str, str]) -> None:
        self._refused.add(problem[0])
        show_warning(plain(problem[1]))

    def _on_taken(self, finished: bool) -> None:
        self._job = None
        self.refresh()

    def _on_the_page(self) -> dict[str, Any]:
        return {name: getattr(getattr(self._page, group), name) for group, name in _pairs()}

    def _fill_page(self) -> None:
        """Show the settings, but for what the person is still typing."""
        self._filling = True
        try:
            for group, name in _pairs():
                if name in self._refused:
                    continue
                if getattr(getattr(self._page, group), name) != getattr(self._settings, name):
                    setattr(getattr(self._page, group), name, getattr(self._settings, name))
        finally:
            self._filling = False
        values = {name: getattr(self._settings, name) for _, name in _pairs()}
        self._begin(lambda: _keep_seen(values))


def _make_home() -> str:
    """Make the folder of the settings.

    Raises
    ------
    SettingsError
        If it cannot be made. The window works on with the defaults.
    """
    try:
        vivim_home().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The settings cannot be kept: {vivim_home()} cannot be written ({error.strerror or error}). Make it "
            "writable, or name another folder in the variable VIVIM_HOME and start again."
        ) from error
    return str(vivim_home())


def _changed_one_by_one(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Take over what differs on the page from what it showed last, and say which values are refused and why."""
    seen = _seen()
    for name, value in shown.items():
        if value == seen[name]:
            continue
        try:
            change_settings(**{name: value})
        except SettingsError as error:
            yield name, str(error)


def _changed_together(chosen: dict[str, Any]) -> Iterator[Settings]:
    yield change_settings(**chosen)


def _let_go(page: Any, on_page: Any, worker: Worker) -> None:
    worker.close()
    for group in GROUPS if page is not None else ():
        getattr(page, group).events.disconnect(on_page)


def _pairs() -> Iterator[tuple[str, str]]:
    for group, names in shown().items():
        for name in names:
            yield group, name


def _seen() -> dict[str, Any]:
    """What the page showed when it was last in step; at first the defaults."""
    try:
        found = json.loads((vivim_home() / SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}  # never in step yet, or damaged: what differs from the defaults is the person's
    defaults = {one.name: one.default for one in fields(Settings)}
    return defaults | (found if isinstance(found, dict) else {})


def _keep_seen(values: dict[str, Any]) -> None:
    """Note what the page shows; a folder that cannot be written is told of when it is made, not here."""
    if (vivim_home() / SEEN).exists() and values.items() <= _seen().items():
        return  # writing it would change the folder that is watched, and come back here
    path = vivim_home() / SEEN
    with suppress(OSError), atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=2), encoding="utf-8")


def open_preferences(viewer: napari.Viewer) -> QDialog:
    """Open napari's preferences at this plugin's page, or a dialog of ours where there is none."""
    window = main_window(viewer)
    opening = [one for one in viewer.window.file_menu.actions() if one.objectName() == PREFERENCES_ACTION]
    if napari_page() is not None and opening:
        opening[0].trigger()
        for pages in window.findChildren(QListWidget, PAGES):
            for found in pages.findItems(DISPLAY_NAME, Qt.MatchFlag.MatchExactly):
                pages.setCurrentItem(found)
                dialog = pages.window()
                assert isinstance(dialog, QDialog)
                return dialog
    ours = SettingsDialog(window)
    ours.open()
    return ours


class SettingsDialog(QDialog):
    """The same settings as on napari's page, for a napari that has none for plugins."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Preferences of {DISPLAY_NAME}")
        self.setMinimumWidth(520)
        found = settings(at_once=True)
        self._worker = Worker("vivim-settings-dialog")
        self.destroyed.connect(self._worker.close)
        self.inputs: dict[str, QWidget] = {}
        layout = QVBoxLayout(self)
        for group, names in shown().items():
            box = QGroupBox(GROUPS[group])
            form = QFormLayout(box)
            for name in names:
                self.inputs[name] = _input(about(name), getattr(found, name))
                form.addRow(about(name).title, self.inputs[name])
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
        """Keep what was chosen, in the background; a refused value is said, and the dialog stays open."""
        chosen = {name: _value(widget) for name, widget in self.inputs.items()}
        self._job = Job(lambda: _changed_together(chosen))
        self._job.failed.connect(lambda error: show_warning(plain(str(error))))
        self._job.ended.connect(self._on_kept)
        self.buttons.setEnabled(False)
        self._worker.submit(self._job)

    def _on_kept(self, kept: bool) -> None:
        self.buttons.setEnabled(True)
        if kept:
            super().accept()

    def _restore(self) -> None:
        for name, widget in self.inputs.items():
            _set_value(widget, getattr(Settings(), name))


def _input(limits: About, value: Any) -> QWidget:
    widget: QComboBox | QSpinBox | QLineEdit
    if limits.choices:
        widget = QComboBox()
        widget.addItems(list(limits.choices))
    elif limits.minimum is not None:
        widget = QSpinBox()
        widget.setRange(limits.minimum, limits.maximum or limits.minimum)
    else:
        widget = QLineEdit()
    widget.setToolTip(limits.help)
    _set_value(widget, value)
    return widget


def _set_value(widget: QWidget, value: Any) -> None:
    if isinstance(widget, QComboBox):
        widget.setCurrentText(value)
    elif isinstance(widget, QSpinBox):
        widget.setValue(value)
    elif isinstance(widget, QLineEdit):
        widget.setText(value)


def _value(widget: QWidget) -> Any:
    if isinstance(widget, QComboBox):
        return widget.currentText()
    return widget.value() if isinstance(widget, QSpinBox) else widget.text()  # type: ignore[attr-defined]
