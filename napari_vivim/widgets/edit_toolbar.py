"""Parts of *Review*: a button for each edit of a whole mask, the classes of the brush, and the table of all keys."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import proxy

from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QFrame,
    QGridLayout,
    QInputDialog,
    QMainWindow,
    QMenu,
    QPushButton,
    QShortcut,
    QToolButton,
    QWidget,
)

from napari_vivim.controller.shortcuts import GO, HELP_KEY, ROWS, SHORTCUTS, Shortcut, groups, run
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import button, column, parent_of, row, subheading
from napari_vivim.qt.napari_window import picture_of
from napari_vivim.qt.plain_text import PlainLabel, tip
from napari_vivim.qt.style import KEY_EDGE, ON_OVERLAY, OVERLAY, SMALL, TOOL, IconButton

OVERLAY_STYLE = (
    f"QFrame#vivimKeys {{ background-color: {OVERLAY}; border-radius: 8px; }}"
    f"QFrame#vivimKeys QLabel {{ color: {ON_OVERLAY}; background: transparent; {SMALL} }}"
)
SHORTCUT = "vivimHelp"
KEY_STYLE = f"font-weight: 600; border: 1px solid {KEY_EDGE}; border-radius: 3px; padding: 0 4px;"
CLASS_COLUMNS = 2
SWATCH = 12
"""Side of a colour's square, in pixels."""


class EditToolbar(QWidget):
    """A row of buttons, with a title, for each kind of edit."""

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        self.buttons: dict[str, IconButton] = {}
        board = column(self, 2)
        for group in ROWS:
            board.addWidget(subheading(group))
            made = {one.title: icon_button(one, controller) for one in SHORTCUTS if one.group == group}
            self.buttons |= made
            line = row(*made.values())
            line.setSpacing(4)
            board.addLayout(line)


class KeysButton(QToolButton):
    """Shows all keys over the picture. Once it was shown, so does "?"."""

    def __init__(self) -> None:
        super().__init__()
        self.setText(HELP_KEY)
        self.setStyleSheet(TOOL)
        self.setToolTip(f"Show all keys over the picture  ({HELP_KEY})")
        self.clicked.connect(lambda: shortcut_overlay(_main_window(self)).toggle())

    def showEvent(self, event: Any) -> None:
        """Let "?" show the keys from now on."""
        super().showEvent(event)
        window = _main_window(self)
        if window.findChild(QShortcut, SHORTCUT) is None:
            shortcut = QShortcut(QKeySequence(HELP_KEY), window)
            shortcut.setObjectName(SHORTCUT)
            seen = proxy(window)  # else the window would hold itself for ever, in PySide
            shortcut.activated.connect(lambda: shortcut_overlay(seen).toggle())


def _main_window(widget: QWidget) -> QMainWindow:
    """The window a widget sits in, also from within a dock that floats."""
    window = parent_of(widget, QMainWindow)
    assert window is not None
    return window


def button_for(shortcut: Shortcut, controller: Callable[[], VideoController | None]) -> QPushButton:
    """A button for something that has a key."""
    return button(shortcut.title, f"{shortcut.tip}  ({shortcut.key})", lambda: run(shortcut, controller()))


def icon_button(
    shortcut: Shortcut, controller: Callable[[], VideoController | None], key: bool = True
) -> IconButton:
    """A button with the drawing of something that has a key, and with that key below."""
    said = f"{shortcut.title}: {shortcut.tip}  ({shortcut.key})"
    made = IconButton(shortcut.icon, shortcut.title, said, shortcut.key if key else "")
    made.clicked.connect(lambda: run(shortcut, controller()))
    return made


class ShortcutOverlay(QFrame):
    """The keys by group in the middle of a window's picture. A click or Esc hides it."""

    def __init__(self, window: QMainWindow) -> None:
        self._picture = picture_of(window)
        super().__init__(self._picture)
        self.setObjectName("vivimKeys")
        self.setStyleSheet(OVERLAY_STYLE)
        grid = QGridLayout(self)
        grid.setContentsMargins(16, 12, 16, 12)
        grid.setVerticalSpacing(2)
        below, left = 0, 0
        for group, keys in groups().items():
            if group == GO:  # where the second column begins
                below, left = 0, 2
            grid.addWidget(subheading(group), below, left, 1, 2)
            for key, title, about in keys:
                below += 1
                cap, name = PlainLabel(key), PlainLabel(title)
                cap.setStyleSheet(KEY_STYLE)
                cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
                for place, label in enumerate((cap, name), start=left):
                    label.setToolTip(about)
                    grid.addWidget(label, below, place)
            below += 1
        self._picture.installEventFilter(self)
        QShortcut(QKeySequence("Escape"), self, self.hide)
        self.hide()

    def toggle(self) -> None:
        """Show it, or hide it."""
        self.setVisible(self.isHidden())
        if not self.isHidden():
            self._place()
            self.raise_()

    def mousePressEvent(self, event: object) -> None:
        """Hide it."""
        self.toggle()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay in the middle of the picture."""
        if event is not None and event.type() == QEvent.Type.Resize and not self.isHidden():
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        middle = self._picture.rect().center() - self.rect().center()
        self.move(max(0, middle.x()), max(0, middle.y()))


def shortcut_overlay(window: QMainWindow) -> ShortcutOverlay:
    """The overlay of a window. The first call makes it."""
    found = picture_of(window).findChild(ShortcutOverlay)
    return found if found is not None else ShortcutOverlay(window)


class ClassLegend(QWidget):
    """The classes of a video. A click chooses the brush's, a right-click names it or gives it another colour."""

    named = Signal(object)
    """The person wants these names: a tuple of str."""
    coloured = Signal(int, str)
    """The person wants a class, counted from 1, in this colour."""

    def __init__(self) -> None:
        super().__init__()
        lines = column(self, 2)
        self.add = button("+ Class", "Add a class of lesions or organs, and give it a name", self._add)
        self.add.setStyleSheet(f"{SMALL} padding: 1px 6px;")
        head = row(subheading("Paint as"), self.add)
        head.setStretch(0, 1)
        lines.addLayout(head)
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        lines.addLayout(self._grid)
        self._group = QButtonGroup(self)
        self.setStyleSheet(
            "QToolButton { border: 1px solid transparent; border-radius: 3px; padding: 1px 4px; }"
            f"QToolButton:checked {{ border-color: {KEY_EDGE}; font-weight: 600; }}"
        )
        self._masks: Labels | None = None
        self._names: list[str] = []

    def show_classes(self, masks: Labels | None, names: Sequence[str]) -> None:
        """Show the classes of a masks layer."""
        if self._masks is not None:
            self._masks.events.selected_label.disconnect(self._mark)
        self._masks, self._names = masks, list(names)
        for one in self._group.buttons():
            self._group.removeButton(one)
            one.deleteLater()
        if masks is None:
            return
        for label, name in enumerate(names, start=1):
            made = self._button(label, name, masks)
            self._group.addButton(made, label)
            self._grid.addWidget(made, (label - 1) // CLASS_COLUMNS, (label - 1) % CLASS_COLUMNS)
        masks.events.selected_label.connect(self._mark)
        self._mark()

    def _button(self, label: int, name: str, masks: Labels) -> QToolButton:
        made = QToolButton()
        square = QPixmap(SWATCH, SWATCH)
        square.fill(QColor.fromRgbF(*(float(part) for part in masks.get_color(label)[:3])))
        made.setIcon(QIcon(square))
        made.setText(f" {label}  {name}")
        made.setToolTip(
            tip(f"Paint “{name}” ({label} while Prompt is on). Right-click to name it, or for another colour")
        )
        made.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        made.setCheckable(True)
        made.setAutoRaise(True)
        made.setSizePolicy(made.sizePolicy().Policy.Expanding, made.sizePolicy().Policy.Fixed)
        made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        made.clicked.connect(lambda: setattr(masks, "selected_label", label))
        menu = QMenu(made)
        menu.addAction("Name ...", partial(self._rename, label))
        menu.addAction("Colour ...", partial(self._recolour, label))
        made.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        made.customContextMenuRequested.connect(lambda place: menu.popup(made.mapToGlobal(place)))
        return made

    def _add(self) -> None:
        if name := self._ask("A new class", ""):
            self.named.emit((*self._names, name))
            if self._masks is not None and name in self._names:  # it was taken
                self._masks.selected_label = len(self._names)

    def _rename(self, label: int) -> None:
        if name := self._ask("Name of this class", self._names[label - 1]):
            self.named.emit((*self._names[: label - 1], name, *self._names[label:]))

    def _recolour(self, label: int) -> None:
        assert self._masks is not None
        now = QColor.fromRgbF(*(float(part) for part in self._masks.get_color(label)[:3]))
        chosen = QColorDialog.getColor(now, self, "Colour of this class")
        if chosen.isValid():
            self.coloured.emit(label, chosen.name())

    def _ask(self, title: str, name: str) -> str:
        said, given = QInputDialog.getText(self, title, "Name", text=name)
        return said.strip() if given else ""

    def _mark(self, event: Any = None) -> None:
        """Show which class the brush paints."""
        chosen = self._group.button(self._masks.selected_label) if self._masks is not None else None
        if chosen is not None:
            chosen.setChecked(True)
