"""Readers: a path napari was given becomes one lazily decoded Image layer; a session folder brings its video.

The time axis counts frames: one step of the slider is one frame, also where a video's frame rate varies, and a
three-dimensional brush reaches over as many frames as pixels instead of hundreds. The frame rate is in the layer's
metadata. Rows and columns are in millimetres where the video says how large its pixels are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vivim.errors import VideoError

if TYPE_CHECKING:
    from vivim.video import Video

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
SUFFIXES = {
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg"),
    *(".tif", ".tiff", ".gif", ".dcm", ".dicom"),
}
AXES = ("time", "y", "x")


def get_video_reader(path: str | Sequence[str]) -> Reader | None:
    """The reader of a video file; None for several files at once, or a file of an unknown kind that is no DICOM.

    DICOM files often have no suffix, only a number: these are offered here and told apart by their content.
    """
    if not isinstance(path, str):
        return get_video_reader(path[0]) if len(path) == 1 else None
    return read if Path(path).suffix.lower() in SUFFIXES or _is_dicom(Path(path)) else None


def get_folder_reader(path: str | Sequence[str]) -> Reader | None:
    """The reader of a folder of pictures or a session folder; None for any other path."""
    if not isinstance(path, str):
        return None
    folder = Path(path)
    if not folder.is_dir() or folder.suffix == ".zarr":
        return None
    return read if _is_session(folder) or _holds_pictures(folder) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Open one path as one Image layer.

    Raises
    ------
    VideoError, SessionError
        With one sentence for the person, if it cannot be opened.
    """
    where = Path(path if isinstance(path, str) else path[0])
    return [session_layer(where) if _is_session(where) else video_layer(where)]


def video_layer(path: Path, folder: Path | None = None) -> LayerData:
    """The layer of a video; `folder` is where its session lives, if not beside it.

    Raises
    ------
    VideoError
        If the video cannot be opened, or its first frame not decoded.
    """
    from vivim.video import LazyFrames, open_video

    video = open_video(path)
    metadata: dict[str, Any] = {"vivim_path": str(path), "fps": video.fps}
    if folder is not None:
        metadata["vivim_folder"] = str(folder)
    keywords = {
        "name": path.name,
        "rgb": len(video.shape) == 4,
        "contrast_limits": contrast_limits(video),
        "metadata": metadata,
        **geometry(video.pixel_spacing_mm),
    }
    return LazyFrames(video), keywords, "image"


def session_layer(folder: Path) -> LayerData:
    """The layer of the video a session folder belongs to; the masks come when "Vivim Segment" resumes it."""
    from vivim.session import Session

    with Session.open(folder, read_only=True) as session:
        path = Path(session.video_path)
    if not path.exists():
        raise VideoError(
            f"The video of this session is no longer at {path}. Put it back, or open it from its new place and "
            f"choose {folder.name} as its session folder."
        )
    return video_layer(path, folder)


def geometry(spacing: tuple[float, float] | None) -> dict[str, Any]:
    """Axis labels, scale and units of a layer ``(T, H, W)`` whose pixels measure `spacing` mm."""
    return {
        "axis_labels": AXES,
        "scale": (1.0, *(spacing or (1.0, 1.0))),
        "units": ("pixel", "mm", "mm") if spacing else ("pixel", "pixel", "pixel"),
    }


def contrast_limits(video: Video) -> tuple[float, float]:
    """Grey levels shown as black and white, from the first frame alone."""
    if video.dtype == np.uint8:
        return 0.0, 255.0
    frame = video.frame(0)
    low, high = float(frame.min()), float(frame.max())
    return low, high if high > low else low + 1.0


def _is_session(path: Path) -> bool:
    return path.is_dir() and (path.suffix == ".vivim" or (path / "session.json").is_file())


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _holds_pictures(folder: Path) -> bool:
    here = folder / "frames" if (folder / "frames").is_dir() else folder
    return any(item.suffix.lower() in PICTURES for item in here.iterdir())
