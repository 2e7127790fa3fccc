"""The palette: a button for each correction of a whole mask, in the dock or floating beside the picture."""

from __future__ import annotations

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
from napari_vivim.qt.components import row, subheading
from napari_vivim.widgets.shortcut_overlay import bind_help, key_overlay

COLUMNS, FLOATING_COLUMNS = 3, 2
STYLE = "font-size: 11px; padding: 3px 2px;"
LINK = (
    "QPushButton { font-size: 11px; padding: 1px 4px; border: none; background: transparent; }"
    "QPushButton:hover { text-decoration: underline; }"
)
MARGIN = 12
"""Pixels between the floating palette and the corner of the picture."""


class Palette(QWidget):
    """A board of buttons, which can be made to float and comes back when its window is closed.

    Parameters
    ----------
    controller : callable
        Gives the controller of the video to correct, or None.
    """

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        self._window: _Float | None = None
        self.buttons = {one.title: _small(button_for(one, controller)) for one in SHORTCUTS if one.button}
        self._board = QWidget()
        board = QVBoxLayout(self._board)
        board.setContentsMargins(0, 0, 0, 0)
        board.setSpacing(4)
        board.addLayout(self._head())
        self._grid = QGridLayout()
        self._grid.setSpacing(4)
        board.addLayout(self._grid)
        self._home = QVBoxLayout(self)
        self._home.setContentsMargins(0, 0, 0, 0)
        self._arrange(COLUMNS, self._home)

    def showEvent(self, event: Any) -> None:
        """From now on "?" shows the keys."""
        super().showEvent(event)
        bind_help(_main_window(self))

    def _head(self) -> QHBoxLayout:
        """What the board is for, and how it and the keys are shown."""
        floating = _link("Float", "Keep this palette beside the picture")
        floating.setCheckable(True)
        floating.clicked.connect(self.set_floating)
        keys = _link(f"Keys {HELP_KEY}", f"Show all keys over the picture  ({HELP_KEY})")
        keys.clicked.connect(lambda: key_overlay(_main_window(self)).toggle())
        self.floating, self.keys = floating, keys
        head = row(subheading("Correct the mask"), floating, keys)
        head.setStretch(0, 1)
        for link in (floating, keys):
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
        key_overlay(main).shown.connect(self._window.setHidden)
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
        for number, button in enumerate(self.buttons.values()):
            self._grid.addWidget(button, number // columns, number % columns)
        home.addWidget(self._board)


class _Float(QDockWidget):
    """A small window that can be closed, or docked anywhere."""

    closing = Signal()

    def closeEvent(self, event: Any) -> None:
        """Say so first."""
        self.closing.emit()
        super().closeEvent(event)


def _main_window(widget: QWidget) -> QMainWindow:
    """The window a widget sits in, also from within a dock that floats."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    assert parent is not None
    return parent


def button_for(shortcut: Shortcut, controller: Callable[[], VideoController | None]) -> QPushButton:
    """A button for something that has a key."""
    button = _button(shortcut.title, f"{shortcut.tip}  ({shortcut.key})")
    button.clicked.connect(lambda: run(shortcut, controller()))
    return button


def _button(title: str, tip: str) -> QPushButton:
    button = QPushButton(title)
    button.setToolTip(tip)
    return button


def _link(title: str, tip: str) -> QPushButton:
    """A button that concerns the board, not the mask: text alone, underlined under the mouse."""
    button = _button(title, tip)
    button.setStyleSheet(LINK)
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button


def _small(button: QPushButton) -> QPushButton:
    """The same, as one of many."""
    button.setStyleSheet(STYLE)
    button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on working on the picture
    return button
