"""napari's window as Qt has it, by ways that are open to plugins."""

from typing import Any

import napari
from qtpy.QtWidgets import QMainWindow, QWidget


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The window that holds the canvas, the menus and the docks of a viewer."""
    window = viewer.window.main_menu.window()
    assert isinstance(window, QMainWindow)
    return window


def set_play_speed(viewer: napari.Viewer, axis: int, steps: float) -> None:
    """Let *Play* move the slider of an axis so many steps a second."""
    widgets: list[Any] = main_window(viewer).findChildren(QWidget)
    for widget in widgets:
        if type(widget).__name__ == "QtDimSliderWidget" and widget.axis == axis:
            widget.fps = steps
