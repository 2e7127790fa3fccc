"""Open the dock by itself when a video is opened, so that a first result is one button away."""

import threading

import napari
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication
from vivim.settings import WITH_A_VIDEO, Settings

PLUGIN, TITLE = "napari-vivim", "Vivim Segment"
POLL_MS = 20
"""Milliseconds between two looks whether what the dock needs is loaded."""


def open_dock_soon(settings: Settings) -> None:
    """Open the dock once the video's layer is there, if the settings say so.

    A reader is given no viewer, and may be called from another thread or a script: then nothing is opened.
    """
    app = QApplication.instance()
    if app is not None and QThread.currentThread() is app.thread() and settings.dock == WITH_A_VIDEO:
        QTimer.singleShot(0, _open_dock)


def _open_dock(loading: threading.Thread | None = None) -> None:
    """Load what the dock needs, then open it, unless a person has closed it in this viewer."""
    viewer = napari.current_viewer()
    if viewer is None or any(name.startswith(TITLE) for name in viewer.window.dock_widgets):
        return
    if loading is None:
        loading = threading.Thread(target=load_dock, name="vivim-loading", daemon=True)
        loading.start()
    if loading.is_alive():
        QTimer.singleShot(POLL_MS, lambda: _open_dock(loading))
    else:
        viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)


def load_dock() -> None:
    """Import the dock's modules and warm up the masks layer, in a thread of its own.

    All of it comes before the dock is made, because a window that is built while something is imported waits for the
    interpreter's lock again and again.
    """
    import napari_vivim.widgets.segment_widget  # noqa: F401
    from napari_vivim.layers.masks_layer import warm_up_masks_layer
    from napari_vivim.widgets.preferences import napari_page

    napari_page()
    warm_up_masks_layer()
