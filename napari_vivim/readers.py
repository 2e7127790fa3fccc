"""Open videos in napari: any file, folder of pictures or session folder that `vivim.open_video` understands.

A video becomes one image layer whose frames are decoded when they are shown. Time comes first and counts in frames, so
that the slider and a brush that reaches over time both speak of frames; pixels are in mm where their size is known.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_warning
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication
from vivim.errors import VideoError, VivimError
from vivim.settings import WITH_A_VIDEO, Settings, settings
from vivim.video.open import SUFFIXES, open_video, suffix_of
from vivim.video.readers.image_folder import dicoms_in, is_dicom, pictures_in

from napari_vivim.background.worker import in_background, load_layers
from napari_vivim.layers.video_frames import SESSION_KEY, LayerData, image_layer
from napari_vivim.qt.plain_text import plain, plain_errors

PLUGIN, TITLE = "napari-vivim", "Vivim Segment"
POLL_MS = 20
"""Milliseconds between two looks whether what the dock needs is loaded."""


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's hook: a reader for `path`, or None if it is nothing this plugin reads."""
    if not isinstance(path, str):
        return None
    place = Path(path)
    if place.is_dir():
        is_session = place.suffix == ".vivim" or (place / "session.json").is_file()
        ours = is_session or bool(pictures_in(place) or dicoms_in(place))
    else:
        ours = suffix_of(place) in SUFFIXES or is_dicom(place)
    return read if ours else None


def read(path: str | Path) -> list[LayerData]:
    """Read a video, or the video of a session folder, as layer data. The dock follows."""
    with plain_errors():
        layers, chosen = in_background(lambda: (_read(Path(path)), settings()))
        for note in layers[0][0].video.notes:
            show_warning(plain(note))
    open_dock_soon(chosen)
    return layers


def _read(path: Path) -> list[LayerData]:
    load_layers()
    metadata: dict[str, Any] = {}
    from vivim.session.metadata import sessions_in

    if sessions := sessions_in(path):  # any reader's says which video it is
        path, metadata[SESSION_KEY] = _video_of(next(iter(sessions.values()))), str(path)
    video = open_video(path)
    with suppress(VideoError):  # told when the frame is shown
        # the first that napari shows: decoded here, not in the window's thread
        video.frame((len(video) - 1) // 2)
    return [image_layer(video, **metadata)]


def _video_of(folder: Path) -> Path:
    from vivim.session import Session

    with Session.open(folder, read_only=True) as session:
        if not session.video_path.exists():
            raise VivimError(
                f"The video of {folder.name} is no longer at {session.video_path}. Put it back there."
            )
        return session.video_path


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

    warm_up_masks_layer()
