"""A table of all keys over the picture, which "?" shows and hides."""

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFrame, QGridLayout, QMainWindow, QShortcut

from napari_vivim.controller.shortcuts import HELP_KEY, rows
from napari_vivim.qt.canvas_message import picture_of
from napari_vivim.qt.plain_text import PlainLabel

STYLE = (
    "QFrame#vivimKeys { background-color: rgba(20, 24, 30, 225); border-radius: 8px; }"
    "QFrame#vivimKeys QLabel { color: #f2f4f7; background: transparent; font-size: 12px; }"
)
SHORTCUT = "vivimHelp"
TIP_WIDTH = 300
"""Pixels in which what a key does is wrapped."""
KEY_STYLE = "font-weight: 600; border: 1px solid #7b8794; border-radius: 3px; padding: 1px 6px;"


class ShortcutOverlay(QFrame):
    """A table of the keys in the middle of a window's picture. A click hides it."""

    shown = Signal(bool)
    """It covers the picture, or no longer does."""

    def __init__(self, window: QMainWindow) -> None:
        self._picture = picture_of(window)
        super().__init__(self._picture)
        self.setObjectName("vivimKeys")
        self.setStyleSheet(STYLE)
        grid = QGridLayout(self)
        grid.setContentsMargins(20, 16, 20, 16)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(3)
        for row, (key, title, tip) in enumerate(rows()):
            cap = PlainLabel(key)
            cap.setStyleSheet(KEY_STYLE)
            cap.setAlignment(Qt.AlignmentFlag.AlignCenter)
            name = PlainLabel(title)
            name.setStyleSheet("font-weight: 600;")
            what = PlainLabel(tip)
            what.setWordWrap(True)
            what.setMinimumWidth(TIP_WIDTH)
            for column, label in enumerate((cap, name, what)):
                grid.addWidget(label, row, column)
        self._picture.installEventFilter(self)
        self.hide()

    def toggle(self) -> None:
        """Show it, or hide it."""
        self.setVisible(self.isHidden())
        if not self.isHidden():
            self._place()
            self.raise_()
        self.shown.emit(not self.isHidden())

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


def bind_help(window: QMainWindow) -> None:
    """Let "?" show and hide a window's overlay. Safe to call twice."""
    if window.findChild(QShortcut, SHORTCUT) is None:
        shortcut = QShortcut(QKeySequence(HELP_KEY), window)
        shortcut.setObjectName(SHORTCUT)
        shortcut.activated.connect(lambda: shortcut_overlay(window).toggle())


def shortcut_overlay(window: QMainWindow) -> ShortcutOverlay:
    """The overlay of a window. The first call makes it."""
    found = picture_of(window).findChild(ShortcutOverlay)
    return found if found is not None else ShortcutOverlay(window)
