"""Open videos in napari: any file, folder of pictures or session folder that `vivim.open_video` understands.

A video becomes one image layer whose frames are decoded when they are shown. Time comes first and counts in frames, so
that the slider and a brush that reaches over time both speak of frames; pixels are in mm where their size is known.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from vivim.errors import VideoError, VivimError
from vivim.settings import settings
from vivim.video.open import (
    SUFFIXES,
    open_video,
    suffix_of,
)
from vivim.video.readers.image_folder import dicoms_in, is_dicom, pictures_in

from napari_vivim.auto_open_dock import open_dock_soon
from napari_vivim.background.imports import in_background, load_layers
from napari_vivim.layers.video_frames import SESSION_KEY, LayerData, image_layer
from napari_vivim.qt.plain_text import plain, plain_errors

SESSION_SUFFIX = ".vivim"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's hook: a reader for `path`, or None if it is nothing this plugin reads."""
    if not isinstance(path, str):
        return None
    return read if _ours(Path(path)) else None


def _ours(path: Path) -> bool:
    if path.is_dir():
        return (path / "session.json").is_file() or bool(pictures_in(path) or dicoms_in(path))
    return suffix_of(path) in SUFFIXES or is_dicom(path)


def read(path: str | Path) -> list[LayerData]:
    """Read a video, or the video of a session folder, as layer data. The dock follows.

    Raises
    ------
    VivimError
        With a sentence for the person; napari shows it.
    """
    with plain_errors():
        layers, chosen = in_background(lambda: (_read(Path(path)), settings()))
        for note in layers[0][0].video.notes:
            show_warning(plain(note))
    open_dock_soon(chosen)
    return layers


def _read(path: Path) -> list[LayerData]:
    load_layers()
    metadata: dict[str, Any] = {}
    if (path / "session.json").is_file():
        path, metadata[SESSION_KEY] = _video_of(path), str(path)
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
