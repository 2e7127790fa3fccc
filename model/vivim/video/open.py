"""`open_video`: from a path to the reader that fits."""

from __future__ import annotations

import re
from pathlib import Path

from vivim.errors import VideoError
from vivim.video.base import Video

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".wmv", ".mpg", ".mpeg",
)  # fmt: skip
TIFF_SUFFIXES = (".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom")


def open_video(path: str | Path) -> Video:
    """Open a video, lazily.

    Parameters
    ----------
    path : str or Path
        A local file (mp4, mov, mkv, avi, webm, wmv, mpg; gif; multi-page tif; DICOM) or a folder of pictures of one
        size (its ``frames`` subfolder, if it has one).

    Returns
    -------
    Video
        ``len(video)`` frames, random access through ``video.frame(i)``, bounded memory.

    Raises
    ------
    VideoError
        If there is no such file, it is of no known kind, or it is damaged.
    """
    text = str(path)
    if re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:", text) and not Path(text).exists():
        raise VideoError(f"{text} is not a local file. Download it first, then open the copy.")
    path = Path(path)
    if not path.exists():
        raise VideoError(f"There is no file or folder {path}. Check the path.")
    if path.is_dir():
        from vivim.video.folder import FolderVideo

        return FolderVideo(path)
    if path.stat().st_size == 0:
        raise VideoError(f"{path.name} is empty. Copy it anew from where it came.")
    return _open_file(path)


def _open_file(path: Path) -> Video:
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES or (
        suffix not in (*VIDEO_SUFFIXES, *TIFF_SUFFIXES, ".gif") and _is_dicom(path)
    ):
        from vivim.video.dicom import DicomVideo

        return DicomVideo(path)
    if suffix in TIFF_SUFFIXES:
        from vivim.video.tiff import TiffVideo

        return TiffVideo(path)
    if suffix == ".gif":
        from vivim.video.gif import GifVideo

        return GifVideo(path)
    if suffix in VIDEO_SUFFIXES:
        from vivim.video.ffmpeg import FFmpegVideo

        return FFmpegVideo(path)
    raise VideoError(
        f"{path.name} is of a kind that is not read. Known are mp4, mov, mkv, avi, webm, wmv, mpg, gif, multi-page "
        "tif, DICOM, and folders of pictures."
    )


def _is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark behind its 128-byte preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
