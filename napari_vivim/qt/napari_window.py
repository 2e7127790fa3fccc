"""napari's window as Qt has it, by ways that are open to plugins, and a line of text over the picture."""

from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_vivim.qt.plain_text import PlainLabel
from napari_vivim.qt.style import CANVAS

STYLE = "background-color: rgba(20, 24, 30, 200); color: #f2f4f7; border-radius: 4px; padding: 4px 8px;"
MARGIN = 10
"""Pixels from the picture's corner."""


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The window that holds the canvas, the menus and the docks of a viewer."""
    window = viewer.window.main_menu.window()
    assert isinstance(window, QMainWindow)
    return window


def give_keys_to_picture(window: QMainWindow) -> None:
    """Let the keyboard work on the picture again."""
    for one in picture_of(window).findChildren(QWidget):
        if type(one).__name__.startswith("CanvasBackend"):
            one.setFocus()


def darken_canvas(viewer: napari.Viewer) -> None:
    """Show pictures on a dark ground in the light theme too, unless a person has chosen another one."""
    canvas: Any = getattr(viewer, "canvas", None)  # from napari 0.9 on
    if canvas is not None and canvas.background_color_override is None:
        canvas.background_color_override = CANVAS


def set_play_speed(viewer: napari.Viewer, axis: int, steps: float) -> None:
    """Let *Play* move the slider of an axis so many steps a second."""
    widgets: list[Any] = main_window(viewer).findChildren(QWidget)
    for widget in widgets:
        if type(widget).__name__ == "QtDimSliderWidget" and widget.axis == axis:
            widget.fps = steps


class CanvasMessage(PlainLabel):
    """Text in the upper left corner of a window's picture. It lets every click through."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__()
        self.setParent(picture_of(window))
        self.setStyleSheet(STYLE)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.move(MARGIN, MARGIN)
        self.hide()

    def say(self, text: str) -> None:
        """Show a text, or hide for an empty one."""
        if text != self.text():
            self.setText(text)
            self.adjustSize()
        self.setVisible(bool(text))
        self.raise_()


def canvas_message(window: QMainWindow) -> CanvasMessage:
    """The message of a window. The first call makes it."""
    found = picture_of(window).findChild(CanvasMessage)
    return found if found is not None else CanvasMessage(window)


def picture_of(window: QMainWindow) -> QWidget:
    """The middle of a window, where napari has its canvas."""
    picture = window.centralWidget()
    assert picture is not None
    return picture
