"""Open the dock by itself when a video is opened, so that a first result is one button away."""

from __future__ import annotations

import napari
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication
from vivim.settings import WITH_A_VIDEO, settings

PLUGIN, TITLE = "napari-vivim", "Vivim Segment"


def open_dock_soon() -> None:
    """Open the dock once the video's layer is there, if the settings say so; does nothing without a window.

    A reader is given no viewer, and may be called from another thread or a script: then nothing is opened.
    """
    app = QApplication.instance()
    if app is not None and QThread.currentThread() is app.thread() and settings().dock == WITH_A_VIDEO:
        QTimer.singleShot(0, _open_dock)


def _open_dock() -> None:
    """Open the dock in the current viewer, unless it was there once: a person who closed it knows where it is."""
    viewer = napari.current_viewer()
    if viewer is not None and not any(name.startswith(TITLE) for name in viewer.window.dock_widgets):
        viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
