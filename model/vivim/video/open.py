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
NIFTI_SUFFIXES = (".nii", ".nii.gz")

MARKS = (
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
    (8, b"AVI ", ".avi"),
    (0, b"GIF8", ".gif"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"II+\0", ".tif"),
    (0, b"MM\0+", ".tif"),
    (0, b"0&\xb2u\x8ef\xcf\x11", ".wmv"),
    (0, b"\0\0\1\xba", ".mpg"),
)
"""Where a format's mark stands in a file, the mark, and the suffix of the format."""


def open_video(path: str | Path) -> Video:
    """Open a video, lazily.

    Parameters
    ----------
    path : str or Path
        A local file (mp4, mov, mkv, avi, webm, wmv, mpg; gif; multi-page tif; DICOM; NIfTI), or a folder: pictures of
        one size (its ``frames`` subfolder, if it has one), or one DICOM series or cine.

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
        return _open_folder(path)
    try:
        beginning = _beginning(path)
    except OSError as error:
        raise VideoError(f"{path.name} cannot be read ({error.strerror}). Check its permissions.") from error
    if not beginning:
        raise VideoError(f"{path.name} is empty. Copy it anew from where it came.")
    return _open_file(path, _kind(suffix_of(path), beginning))


def suffix_of(path: Path) -> str:
    """The ending a file is known by, in small letters; ``.nii.gz`` counts as one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _open_folder(path: Path) -> Video:
    from vivim.video.readers.image_folder import FolderVideo, dicoms_in, pictures_in

    try:
        if not pictures_in(path) and dicoms_in(path):
            from vivim.video.readers.dicom_series import open_series

            return open_series(path)
    except OSError as error:
        raise VideoError(
            f"The folder {path} cannot be read ({error.strerror}). Check its permissions."
        ) from error
    return FolderVideo(path)


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        raise VideoError(f"{path} is not an ordinary file. Choose a video file or a folder of pictures.")
    with path.open("rb") as file:
        return file.read(132)


def _kind(suffix: str, beginning: bytes) -> str:
    """The suffix a file goes by: its own if it is known, else that of the format its first bytes tell."""
    if suffix in (*VIDEO_SUFFIXES, *TIFF_SUFFIXES, *DICOM_SUFFIXES, *NIFTI_SUFFIXES, ".gif"):
        return suffix
    if beginning[128:] == b"DICM":
        return ".dcm"
    return next((kind for start, mark, kind in MARKS if beginning[start:].startswith(mark)), suffix)


def _open_file(path: Path, kind: str) -> Video:
    if kind in DICOM_SUFFIXES:
        from vivim.video.readers.dicom import open_dicom

        return open_dicom(path)
    if kind in NIFTI_SUFFIXES:
        from vivim.video.readers.nifti import NiftiVideo

        return NiftiVideo(path)
    if kind in TIFF_SUFFIXES:
        from vivim.video.readers.tiff import TiffVideo

        return TiffVideo(path)
    if kind == ".gif":
        from vivim.video.readers.gif import GifVideo

        return GifVideo(path)
    if kind in VIDEO_SUFFIXES:
        from vivim.video.readers.ffmpeg import FFmpegVideo

        return FFmpegVideo(path)
    raise VideoError(
        f"{path.name} is of a kind that is not read. Known are mp4, mov, mkv, avi, webm, wmv, mpg, gif, multi-page "
        "tif, DICOM, NIfTI, and folders of pictures."
    )
