"""napari's window as Qt has it, and the frame it shows, by ways that are open to plugins."""

import napari
from qtpy.QtWidgets import QMainWindow


def main_window(viewer: napari.Viewer) -> QMainWindow:
    """The window that holds the canvas, the menus and the docks of a viewer."""
    window = viewer.window.main_menu.window()
    assert isinstance(window, QMainWindow)
    return window


def current_frame(viewer: napari.Viewer) -> int:
    """Number of the frame on screen."""
    return int(viewer.dims.current_step[0]) if viewer.dims.ndim > 2 else 0
