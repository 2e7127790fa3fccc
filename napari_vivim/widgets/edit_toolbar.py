"""A toolbar with a button for each edit of a whole mask, in the dock or floating beside the picture."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtWidgets import (
    QDockWidget,
    QGridLayout,
    QHBoxLayout,
    QMainWindow,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_vivim.controller.shortcuts import HELP_KEY, SHORTCUTS, Shortcut, run
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.canvas_message import picture_of
from napari_vivim.qt.components import button, column, parent_of, row, subheading
from napari_vivim.widgets.shortcut_overlay import bind_help, shortcut_overlay

COLUMNS, FLOATING_COLUMNS = 3, 2
STYLE = "font-size: 11px; padding: 3px 2px;"
LINK = (
    "QPushButton { font-size: 11px; padding: 1px 4px; border: none; background: transparent; }"
    "QPushButton:hover { text-decoration: underline; }"
)
MARGIN = 12
"""Pixels between the floating palette and the corner of the picture."""


class EditToolbar(QWidget):
    """A board of buttons that can float, and comes back when its window is closed."""

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        self._window: _Float | None = None
        self.buttons = {one.title: _small(button_for(one, controller)) for one in SHORTCUTS if one.button}
        self._board = QWidget()
        board = column(self._board, 4)
        board.addLayout(self._head())
        self._grid = QGridLayout()
        self._grid.setSpacing(4)
        board.addLayout(self._grid)
        self._home = column(self)
        self._arrange(COLUMNS, self._home)

    def showEvent(self, event: Any) -> None:
        """Let "?" show the keys from now on."""
        super().showEvent(event)
        bind_help(_main_window(self))

    def _head(self) -> QHBoxLayout:
        """The title of the board, with the links that make it float and show the keys."""
        tip = "Keep these buttons beside the picture"
        self.floating = _link("Float", tip, lambda: self.set_floating(self.floating.isChecked()))
        self.floating.setCheckable(True)
        tip = f"Show all keys over the picture  ({HELP_KEY})"
        self.keys = _link(f"Keys {HELP_KEY}", tip, lambda: shortcut_overlay(_main_window(self)).toggle())
        head = row(subheading("Correct the mask"), self.floating, self.keys)
        head.setStretch(0, 1)
        for link in (self.floating, self.keys):
            head.setAlignment(link, Qt.AlignmentFlag.AlignBottom)
        return head

    def set_floating(self, floating: bool) -> None:
        """Take the board out into a small window beside the picture, or back."""
        if not floating:
            if self._window is not None:
                self._window.close()
            return
        main = _main_window(self)
        self._window = _Float("Corrections", main)
        self._window.closing.connect(self._take_back)
        shortcut_overlay(main).shown.connect(self._window.setHidden)
        inner = QWidget()
        self._window.setWidget(inner)
        box = QVBoxLayout(inner)
        box.setContentsMargins(6, 4, 6, 6)
        self._arrange(FLOATING_COLUMNS, box)
        main.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, self._window)
        self._window.setFloating(True)
        self.floating.setText("Dock")
        self.floating.setChecked(True)
        self._window.adjustSize()
        self._window.move(picture_of(main).mapToGlobal(QPoint(MARGIN, MARGIN)))

    def _take_back(self) -> None:
        self._arrange(COLUMNS, self._home)
        self.floating.setChecked(False)
        self.floating.setText("Float")
        window, self._window = self._window, None
        if window is not None:
            window.deleteLater()

    def _arrange(self, columns: int, home: QVBoxLayout) -> None:
        for number, one in enumerate(self.buttons.values()):
            self._grid.addWidget(one, number // columns, number % columns)
        home.addWidget(self._board)


class _Float(QDockWidget):
    """A small window that can be closed, or docked anywhere."""

    closing = Signal()

    def closeEvent(self, event: Any) -> None:
        """Report the closing first."""
        self.closing.emit()
        super().closeEvent(event)


def _main_window(widget: QWidget) -> QMainWindow:
    """The window a widget sits in, also from within a dock that floats."""
    window = parent_of(widget, QMainWindow)
    assert window is not None
    return window


def button_for(shortcut: Shortcut, controller: Callable[[], VideoController | None]) -> QPushButton:
    """A button for something that has a key."""
    return button(shortcut.title, f"{shortcut.tip}  ({shortcut.key})", lambda: run(shortcut, controller()))


def _link(title: str, tip: str, on_click: Callable[[], object]) -> QPushButton:
    """A button for the board itself: text alone, underlined under the mouse."""
    link = button(title, tip, on_click)
    link.setStyleSheet(LINK)
    link.setCursor(Qt.CursorShape.PointingHandCursor)
    link.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return link


def _small(one: QPushButton) -> QPushButton:
    """Make a button small, as one of many."""
    one.setStyleSheet(STYLE)
    one.setSizePolicy(one.sizePolicy().Policy.Expanding, one.sizePolicy().Policy.Fixed)
    one.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on working on the picture
    return one
