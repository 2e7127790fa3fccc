"""Open the dock by itself when a video is opened, so that a first result is one button away."""

from __future__ import annotations

import threading

import napari
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication
from vivim.settings import WITH_A_VIDEO, settings

from napari_vivim.background.imports import look_at_new_things_only, without_collecting

PLUGIN, TITLE = "napari-vivim", "Vivim Segment"
POLL_MS = 20
"""Milliseconds between two looks whether what the dock needs is loaded."""


def open_dock_soon() -> None:
    """Open the dock once the video's layer is there, if the settings say so; does nothing without a window.

    A reader is given no viewer, and may be called from another thread or a script: then nothing is opened.
    """
    app = QApplication.instance()
    if app is not None and QThread.currentThread() is app.thread() and settings(at_once=True).dock == WITH_A_VIDEO:
        QTimer.singleShot(0, _open_dock)


def _open_dock(loading: threading.Thread | None = None) -> None:
    """Open the dock in the current viewer, unless it was there once: a person who closed it knows where it is.

    What it needs is loaded first, in a thread.
    """
    viewer = napari.current_viewer()
    if viewer is None or any(name.startswith(TITLE) for name in viewer.window.dock_widgets):
        return
    if loading is None:
        loading = threading.Thread(target=load_dock, name="vivim-loading", daemon=True)
        loading.start()
    if loading.is_alive():
        QTimer.singleShot(POLL_MS, lambda: _open_dock(loading))
    else:
        look_at_new_things_only()
        viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)


def load_dock() -> None:
    """Import the dock's modules, and work out what the masks layer needs; in a thread of its own.

    All that is done before the dock is made: of a window that is built while something loads, each call waits for the
    interpreter's lock.
    """
    with without_collecting():
        import napari_vivim.widgets.segment_widget  # noqa: F401
        from napari_vivim.layers.masks_layer import warm_up_masks_layer
        from napari_vivim.widgets.preferences import napari_page

        napari_page()
        warm_up_masks_layer()
