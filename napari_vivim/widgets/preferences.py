"""The settings in napari's page of preferences for plugins, or in a dialog of ours.

`vivim.settings` is the one source of truth, because the command line and machines without a window read it too. The
page is a view of it. The file `SEEN` holds what the page showed when it was last in step. What differs from it on the
page was changed by a person while no widget of this plugin was open, and wins. All else on the page follows the
settings.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import napari
from magicgui.widgets import Container, create_widget
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGroupBox, QListWidget, QVBoxLayout, QWidget
from vivim.errors import SettingsError
from vivim.settings import Settings, about, change_settings, read_settings, vivim_home
from vivim.utils.atomic_files import part_of

from napari_vivim.background.imports import in_background
from napari_vivim.background.worker import Job, Worker
from napari_vivim.qt.components import single_shot
from napari_vivim.qt.napari_window import main_window
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import plain

PLUGIN, DISPLAY_NAME = "napari-vivim", "Vivim"
PREFERENCES_ACTION, PAGES = "napari.window.file.show_preferences_dialog", "Preferences"
"""napari's names of the menu's entry, and of the list of pages that it opens."""
SEEN = "napari-page.json"
QUIET_MS = 600
"""A text on the page is taken over when nobody has typed for so many milliseconds."""
POLL_MS = 1000
"""Milliseconds between two looks whether another program has changed the settings."""
GROUPS = {
    "inference": "Proposing",
    "display": "Masks",
    "window": "Window",
    "folders": "Folders",
    "remote": "Another machine's device",
}
"""Sections of the page, and their titles. Settings of other groups have windows of their own."""


def shown() -> dict[str, list[str]]:
    """Names of the settings on the page, by section."""
    names: dict[str, list[str]] = {group: [] for group in GROUPS}
    for one in fields(Settings):
        group = one.metadata["about"].group
        if group in names:
            names[group].append(one.name)
    return names


def napari_page() -> Any:
    """napari's settings of this plugin, one object a section, or None before napari 0.9."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before 0.9
        return None
    page = get_plugin_settings().get(PLUGIN)
    return page if page is not None and all(hasattr(page, group) for group in GROUPS) else None


class Preferences(QObject):
    """Keeps napari's page and the settings in step while a widget is open.

    All files are read and written in a thread, so that a share that does not answer holds no window.
    """

    changed = Signal(object)
    """The settings are these now."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._page = napari_page()
        self._filling = False
        self._worker = Worker("vivim-settings")
        self._job: Job | None = None
        self._settings: Settings | None = None
        self._refused: set[str] = set()
        self._warned: set[str] = set()
        self._typed = single_shot(self, QUIET_MS, self._take_page)
        self._poll = QTimer(self)
        self._poll.timeout.connect(self.refresh)
        self._poll.start(POLL_MS)
        for group in GROUPS if self._page is not None else ():
            getattr(self._page, group).events.connect(self._on_page)
        page, on_page, worker = self._page, self._on_page, self._worker
        self.destroyed.connect(lambda: _let_go(page, on_page, worker))
        self._take_page()

    def refresh(self) -> None:
        """Read the settings again, and show what has changed, whoever changed it."""
        if self._job is None:
            self._run(lambda: _in_step({}))

    def _on_page(self, event: Any = None) -> None:
        if not self._filling:
            self._typed.start()

    def _take_page(self) -> None:
        """Take over what the person changed on the page."""
        if self._job is not None:
            self._typed.start()
            return
        on_page = {name: getattr(getattr(self._page, group), name) for group, name in _pairs() if self._page}
        self._refused = set()
        self._run(lambda: _in_step(on_page))

    def _run(self, work: Callable[[], Iterator[Settings | tuple[str, str]]]) -> None:
        self._job = Job(work)
        self._job.event.connect(self._on_event)
        self._job.failed.connect(show_problem)
        self._job.ended.connect(self._on_ended)
        self._worker.submit(self._job)

    def _on_ended(self, finished: bool) -> None:
        self._job = None

    def _on_event(self, event: Settings | tuple[str, str]) -> None:
        if isinstance(event, Settings):
            self._show(event)
            return
        name, problem = event
        if name:
            self._refused.add(name)
        if name or problem not in self._warned:
            self._warned.add(problem)
            show_warning(plain(problem))

    def _show(self, found: Settings) -> None:
        before, self._settings = self._settings, found
        if self._page is not None and not self._typed.isActive():
            self._fill_page(found)
        if before is not None and found != before:
            self.changed.emit(found)

    def _fill_page(self, found: Settings) -> None:
        """Show the settings on the page, except those that were refused."""
        values = {name: getattr(found, name) for _, name in _pairs()}
        self._filling = True
        try:
            for group, name in _pairs():
                section = getattr(self._page, group)
                if name not in self._refused and getattr(section, name) != values[name]:
                    setattr(section, name, values[name])
        finally:
            self._filling = False
        self._keeping = Job(lambda: _keep_seen(values))
        self._keeping.event.connect(self._on_event)
        self._worker.submit(self._keeping)


def _in_step(on_page: dict[str, Any]) -> Iterator[Settings | tuple[str, str]]:
    """Take over what a person changed on the page, then read the settings, and yield them as they are now.

    Before them yield each setting that cannot be so, and why. Without a name it is what is wrong with the files.
    """
    seen = _seen() if on_page else {}
    for name, value in on_page.items():
        if value != seen[name]:
            try:
                change_settings(**{name: value})
            except SettingsError as error:
                yield name, str(error)
    found, problems = read_settings()
    yield from (("", problem) for problem in problems)
    yield found


def _let_go(page: Any, on_page: Any, worker: Worker) -> None:
    worker.close()
    for group in GROUPS if page is not None else ():
        getattr(page, group).events.disconnect(on_page)


def _pairs() -> Iterator[tuple[str, str]]:
    for group, names in shown().items():
        for name in names:
            yield group, name


def _seen() -> dict[str, Any]:
    """What the page showed when it was last in step, at first the defaults."""
    try:
        found = json.loads((vivim_home() / SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}  # never in step yet, or damaged: what differs from the defaults is the person's
    defaults = {one.name: one.default for one in fields(Settings)}
    return defaults | (found if isinstance(found, dict) else {})


def _keep_seen(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write down what the page shows, or yield why that cannot be."""
    path = vivim_home() / SEEN
    try:
        if not path.exists() or not values.items() <= _seen().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = part_of(path)
            part.write_text(json.dumps(values, indent=2), encoding="utf-8")
            os.replace(part, path)
    except OSError as error:
        yield (
            "",
            f"Preferences cannot be kept in {path.parent} ({error.strerror or error}). Make that folder writable, or "
            "set the environment variable VIVIM_HOME to another.",
        )


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
        found, _ = in_background(read_settings)
        self.inputs: dict[str, Any] = {}
        layout = QVBoxLayout(self)
        for group, names in shown().items():
            inputs = {name: _input(name, getattr(found, name)) for name in names}
            self.inputs |= inputs
            box = QGroupBox(GROUPS[group])
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
