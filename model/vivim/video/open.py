"""`open_video`: from a path to the reader that fits.

To add a kind of video, write a module in `vivim.video.readers` and add a line to `READERS`. The module has a class that
extends `vivim.video.base.Video`, is made from a path, and decodes one frame in ``_decode(i)``. It raises
`VideoError` for whatever is wrong with the file. ``readers/gif.py`` is the shortest example.
"""

import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

from vivim.errors import VideoError
from vivim.video.base import Video


@dataclass(frozen=True)
class Reader:
    """A kind of video file."""

    reader: str
    """Module in `vivim.video.readers` and what opens a path, as ``"gif:GifVideo"``."""
    suffixes: tuple[str, ...]
    """Endings of its files, in small letters."""
    marks: tuple[tuple[int, bytes], ...]
    """Bytes by which a file is known, whatever its ending, and where they stand in its first `HEAD_BYTES`."""


HEAD_BYTES = 132
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".wmv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob", ".flv",
    ".ogv", ".3gp", ".mxf", ".asf", ".dv", ".m2v", ".h264", ".264", ".hevc", ".265", ".y4m", ".ivf", ".nut", ".wtv",
)  # fmt: skip
TIFF_SUFFIXES = (".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
GIF_SUFFIXES = (".gif",)

READERS = (
    Reader("dicom:open_dicom", DICOM_SUFFIXES, ((128, b"DICM"),)),
    Reader("nifti:NiftiVideo", NIFTI_SUFFIXES, ()),
    Reader("tiff:TiffVideo", TIFF_SUFFIXES, ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))),
    Reader("gif:GifVideo", GIF_SUFFIXES, ((0, b"GIF8"),)),
    Reader("ffmpeg:FFmpegVideo", VIDEO_SUFFIXES, ()),
)
"""Kinds of files that are read. FFmpeg, the last, knows those of its own by what is in them."""
SUFFIXES = tuple(suffix for reader in READERS for suffix in reader.suffixes)
"""Endings of all files that are read."""


def open_video(path: str | Path) -> Video:
    """Open a video, lazily.

    Parameters
    ----------
    path : str or Path
        A local file (what FFmpeg decodes, as mp4, mov, mkv, avi; gif; multi-page tif; DICOM; NIfTI), known by its
        content before its ending, or a folder: pictures of one size (of its ``frames`` subfolder, if it has
        one), one stack, or one DICOM series or cine.

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
    reader = reader_of(suffix_of(path), beginning)
    try:
        return pkgutil.resolve_name(f"vivim.video.readers.{(reader or READERS[-1]).reader}")(path)
    except VideoError as error:
        if reader is not None:
            raise
        raise VideoError(
            f"{path.name} is of a kind that is not read. Known are mp4, mov, mkv, avi and whatever else FFmpeg "
            "decodes, gif, multi-page tif, DICOM, NIfTI, and folders of pictures."
        ) from error


def suffix_of(path: Path) -> str:
    """The ending a file is known by, in small letters. ``.nii.gz`` counts as one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _open_folder(path: Path) -> Video:
    from vivim.video.readers.image_folder import holds_series, open_pictures

    try:
        if holds_series(path):
            from vivim.video.readers.dicom import open_series

            return open_series(path)
        return open_pictures(path)
    except OSError as error:
        raise VideoError(
            f"The folder {path} cannot be read ({error.strerror}). Check its permissions."
        ) from error


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        raise VideoError(f"{path} is not an ordinary file. Choose a video file or a folder of pictures.")
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def reader_of(suffix: str, beginning: bytes) -> Reader | None:
    """The reader that a file's first bytes tell, else that of its suffix."""
    by_mark = (
        reader for reader in READERS if any(beginning[at:].startswith(mark) for at, mark in reader.marks)
    )
    by_suffix = (reader for reader in READERS if suffix in reader.suffixes)
    return next(by_mark, None) or next(by_suffix, None)
