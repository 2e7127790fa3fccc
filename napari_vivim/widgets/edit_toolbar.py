"""Parts of *Review*: a button for each edit of a whole mask, the classes of the brush, and the table of all keys."""

from collections.abc import Callable, Sequence
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QMainWindow,
    QPushButton,
    QShortcut,
    QToolButton,
    QWidget,
)

from napari_vivim.controller.shortcuts import HELP_KEY, SHORTCUTS, Shortcut, rows, run
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import button, column, parent_of, row, subheading
from napari_vivim.qt.napari_window import picture_of
from napari_vivim.qt.plain_text import PlainLabel, tip

COLUMNS = 3
STYLE = "font-size: 11px; padding: 3px 2px;"
LINK = (
    "QPushButton { font-size: 11px; padding: 1px 4px; border: none; background: transparent; }"
    "QPushButton:hover { text-decoration: underline; }"
)
OVERLAY = (
    "QFrame#vivimKeys { background-color: rgba(20, 24, 30, 225); border-radius: 8px; }"
    "QFrame#vivimKeys QLabel { color: #f2f4f7; background: transparent; font-size: 12px; }"
)
SHORTCUT = "vivimHelp"
TIP_WIDTH = 300
"""Pixels in which what a key does is wrapped."""
KEY_STYLE = "font-weight: 600; border: 1px solid #7b8794; border-radius: 3px; padding: 1px 6px;"
CLASS_COLUMNS = 2
SWATCH = 12
"""Side of a colour's square, in pixels."""


class EditToolbar(QWidget):
    """A board of buttons, with a link that shows the keys."""

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        self.keys = button(
            f"Keys {HELP_KEY}",
            f"Show all keys over the picture  ({HELP_KEY})",
            lambda: shortcut_overlay(_main_window(self)).toggle(),
        )
        self.keys.setStyleSheet(LINK)
        self.keys.setCursor(Qt.CursorShape.PointingHandCursor)
        head = row(subheading("Correct the mask"), self.keys)
        head.setStretch(0, 1)
        head.setAlignment(self.keys, Qt.AlignmentFlag.AlignBottom)
        board = column(self, 4)
        board.addLayout(head)
        grid = QGridLayout()
        grid.setSpacing(4)
        board.addLayout(grid)
        self.buttons = {one.title: button_for(one, controller) for one in SHORTCUTS if one.button}
        for number, made in enumerate(self.buttons.values()):
            made.setStyleSheet(STYLE)
            made.setSizePolicy(made.sizePolicy().Policy.Expanding, made.sizePolicy().Policy.Fixed)
            grid.addWidget(made, number // COLUMNS, number % COLUMNS)
        for one in (self.keys, *self.buttons.values()):
            one.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on working on the picture

    def showEvent(self, event: Any) -> None:
        """Let "?" show the keys from now on."""
        super().showEvent(event)
        window = _main_window(self)
        if window.findChild(QShortcut, SHORTCUT) is None:
            shortcut = QShortcut(QKeySequence(HELP_KEY), window)
            shortcut.setObjectName(SHORTCUT)
            shortcut.activated.connect(lambda: shortcut_overlay(window).toggle())


def _main_window(widget: QWidget) -> QMainWindow:
    """The window a widget sits in, also from within a dock that floats."""
    window = parent_of(widget, QMainWindow)
    assert window is not None
    return window


def button_for(shortcut: Shortcut, controller: Callable[[], VideoController | None]) -> QPushButton:
    """A button for something that has a key."""
    return button(shortcut.title, f"{shortcut.tip}  ({shortcut.key})", lambda: run(shortcut, controller()))


class ShortcutOverlay(QFrame):
    """A table of the keys in the middle of a window's picture. A click or Esc hides it."""

    def __init__(self, window: QMainWindow) -> None:
        self._picture = picture_of(window)
        super().__init__(self._picture)
        self.setObjectName("vivimKeys")
        self.setStyleSheet(OVERLAY)
        grid = QGridLayout(self)
        grid.setContentsMargins(20, 16, 20, 16)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(3)
        for number, (key, title, about) in enumerate(rows()):
            cap = PlainLabel(key)
            cap.setStyleSheet(KEY_STYLE)
            cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
            name = PlainLabel(title)
            name.setStyleSheet("font-weight: 600;")
            what = PlainLabel(about)
            what.setWordWrap(True)
            what.setMinimumWidth(TIP_WIDTH)
            for place, label in enumerate((cap, name, what)):
                grid.addWidget(label, number, place)
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
    """A square and a name for each class, and a click chooses the brush's. Hidden for one class."""

    def __init__(self) -> None:
        super().__init__()
        lines = column(self, 2)
        lines.addWidget(subheading("Paint as"))
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        lines.addLayout(self._grid)
        self._group = QButtonGroup(self)
        self.setStyleSheet(
            "QToolButton { border: 1px solid transparent; border-radius: 3px; padding: 1px 4px; }"
            "QToolButton:checked { border-color: #8a94a0; font-weight: 600; }"
        )
        self._masks: Labels | None = None
        self.hide()

    def show_classes(self, masks: Labels | None, names: Sequence[str]) -> None:
        """Show the classes of a masks layer."""
        if self._masks is not None:
            self._masks.events.selected_label.disconnect(self._mark)
        self._masks = masks
        for one in self._group.buttons():
            self._group.removeButton(one)
            one.deleteLater()
        several = masks is not None and len(names) > 1
        self.setVisible(several)
        if masks is None or not several:
            return
        for label, name in enumerate(names, start=1):
            button = self._button(label, name, masks)
            self._group.addButton(button, label)
            self._grid.addWidget(button, (label - 1) // CLASS_COLUMNS, (label - 1) % CLASS_COLUMNS)
        masks.events.selected_label.connect(self._mark)
        self._mark()

    def _button(self, label: int, name: str, masks: Labels) -> QToolButton:
        button = QToolButton()
        square = QPixmap(SWATCH, SWATCH)
        square.fill(QColor.fromRgbF(*(float(part) for part in masks.get_color(label)[:3])))
        button.setIcon(QIcon(square))
        button.setText(f" {name}")
        button.setToolTip(tip(f"Paint “{name}”: label {label} of the masks layer"))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setCheckable(True)
        button.setAutoRaise(True)
        button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
        button.clicked.connect(lambda: setattr(masks, "selected_label", label))
        return button

    def _mark(self, event: Any = None) -> None:
        """Show which class the brush paints."""
        chosen = self._group.button(self._masks.selected_label) if self._masks is not None else None
        if chosen is not None:
            chosen.setChecked(True)
