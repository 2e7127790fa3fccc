"""A line of text over the picture, drawn by Qt and not by the canvas."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_vivim.qt.plain_text import PlainLabel

STYLE = "background-color: rgba(20, 24, 30, 200); color: #f2f4f7; border-radius: 4px; padding: 4px 8px;"
MARGIN = 10
"""Pixels from the picture's corner."""


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
