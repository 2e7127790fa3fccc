"""napari's window as Qt has it, by ways that are open to plugins."""

import napari
from qtpy.QtWidgets import QMainWindow


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The window that holds the canvas, the menus and the docks of a viewer."""
    window = viewer.window.main_menu.window()
    assert isinstance(window, QMainWindow)
    return window
