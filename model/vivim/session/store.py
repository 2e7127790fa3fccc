"""Masks on disk: a Zarr array, one frame a chunk, so that a stroke rewrites one small file and nothing else.

Zarr's local store writes a chunk beside the old one and renames it, so a frame is always either old or new. What is
read is not trusted: a folder may come from anywhere, and a chunk may claim to be larger than a frame.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec

from vivim.errors import SessionError

METADATA = "zarr.json"
PARTIAL = ".partial"
"""How the names of files end that Zarr is writing."""
METADATA_BYTES = 2**16
"""A larger ``zarr.json`` is none of ours."""

_BLOSC_HEADER = struct.Struct("<4xI4xI")
"""Of the 16 bytes a compressed chunk begins with: its size once unpacked, and its size as it is."""
_BLOSC_HEADER_BYTES = 16
_MOST_OVERHEAD = 4096
"""By so many bytes a packed chunk may be larger than its frame."""


class MaskStore:
    """Array-like ``(T, H, W)`` uint8 of a session's masks; all zeros until it is created or opened.

    Written by the session's gate only.

    Parameters
    ----------
    path : Path
        The Zarr folder.
    shape : tuple of int
        Frames, height and width that the session's video has.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path, self.shape = path, shape
        self.chunks = (1, *shape[1:])
        self._array: Any = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of pixels of all frames."""
        return int(np.prod(self.shape))

    def create(self) -> None:
        """Make a new array of zeros in place of any there; frames never written take no space."""
        self._array = zarr.create_array(
            store=str(self.path),
            shape=self.shape,
            chunks=self.chunks,
            dtype="uint8",
            overwrite=True,
            fill_value=0,
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1),
            dimension_names=("time", "y", "x"),
        )

    def open(self, read_only: bool) -> None:
        """Open the array of an existing session.

        Raises
        ------
        SessionError
            If it is missing, damaged, or not as `create` makes it for this shape.
        """
        try:
            if (self.path / METADATA).stat().st_size > METADATA_BYTES:
                raise ValueError(f"{METADATA} is too large")
            array = zarr.open_array(str(self.path), mode="r" if read_only else "r+")
            found = (array.shape, str(array.dtype), array.chunks, int(array.fill_value or 0), _codecs(array))
        except Exception as error:  # damaged metadata fails in any way inside Zarr
            raise SessionError(
                f"The masks in {self.path} cannot be read ({_first_line(error)}). Restore them from a backup."
            ) from error
        if found != (self.shape, "uint8", self.chunks, 0, ["bytes", "blosc"]):
            raise SessionError(
                f"The masks in {self.path} are {found[0]} {found[1]}, or packed in another way than this program "
                f"does, but the session's video is {self.shape}. Restore session.json or masks.zarr from a backup."
            )
        self._array = array

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        if self._array is None:
            return np.broadcast_to(np.uint8(0), self.shape)[key].copy()
        try:
            if isinstance(key, (int, np.integer)) and 0 <= key < len(self):
                return self._frame(int(key))
            for t in self._frames_of(key):
                self._chunk(t)
            return np.asarray(self._array[key])
        except IndexError:
            raise
        except Exception as error:  # a damaged chunk fails in any way inside its decoder
            what = f"The mask of frame {key}" if isinstance(key, (int, np.integer)) else "A mask"
            raise SessionError(
                f"{what} in {self.path} cannot be read ({_first_line(error)}). Restore it from a backup, or draw "
                "this frame anew."
            ) from error

    def __setitem__(self, t: int, pixels: NDArray[np.uint8]) -> None:
        if not (
            self.path / METADATA
        ).is_file():  # Zarr would make the folders anew, and the frame would be lost
            raise FileNotFoundError(errno.ENOENT, "the masks have been moved or removed")
        try:
            self._array[t] = pixels
        except OSError:
            if not self._cleared(t):
                raise
            self._array[t] = pixels

    def _cleared(self, t: int) -> bool:
        """Move away what is no file in the place of a frame's file, and no folder in that of its folders."""
        *folders, file = (self.path / "c" / part for part in (str(t), f"{t}/0", f"{t}/0/0"))
        wrong = [path for path in folders if path.is_file()] + ([file] if file.is_dir() else [])
        for path in wrong[:1]:
            os.rename(path, self.path / f"damaged-{t}-{secrets.token_hex(4)}")
        return bool(wrong)

    def readable(self, t: int) -> NDArray[np.uint8] | None:
        """One frame ``(H, W)``, None if it cannot be read.

        Raises
        ------
        SessionError
            If all masks are gone: no frame is damaged then.
        """
        if self._array is None:
            return np.zeros(self.shape[1:], np.uint8)
        try:
            return self._frame(t)
        except Exception as error:  # a damaged chunk fails in any way inside its decoder
            if not (self.path / METADATA).is_file():
                raise SessionError(f"The masks in {self.path} have been moved or removed. Put them back.") from error
            return None

    def stamp(self, t: int) -> tuple[int, int, int] | None:
        """What tells a frame's file from an earlier or later one; None if there is none, and the frame is zeros."""
        try:
            info = self._file_of(t).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info.st_ino, info.st_size, info.st_mtime_ns

    def frames_written(self) -> list[int]:
        """Frames that have, or had, a file: those with a folder of their own."""
        folder = self.path / "c"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isdecimal() and int(name) < len(self))

    def _file_of(self, t: int) -> Path:
        return self.path / "c" / str(t) / "0" / "0"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[:], dtype=dtype)

    def _frames_of(self, key: Any) -> Iterable[int]:
        """Frames that an index reads from disk; all of them where that is not plain to see."""
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, (int, np.integer)):
            return [int(first) + len(self) if first < 0 else int(first)]
        return range(*first.indices(len(self))) if isinstance(first, slice) else range(len(self))

    def _frame(self, t: int) -> NDArray[np.uint8]:
        """One frame, unpacked here: a tenth of the time that going through Zarr takes."""
        packed = self._chunk(t)
        if packed is None:
            return np.zeros(self.shape[1:], np.uint8)
        pixels = np.empty(self.shape[1:], np.uint8)
        blosc.decompress(packed, pixels)
        return pixels

    def _chunk(self, t: int) -> bytes | None:
        """What is stored of a frame, None if it was never written; a `ValueError` if it would not unpack to a frame."""
        try:
            path = self._file_of(t)
            info = path.stat()
            if not stat.S_ISREG(info.st_mode):
                raise ValueError("it is no file")
            if info.st_size > self.shape[1] * self.shape[2] + _MOST_OVERHEAD:
                raise ValueError("it is too large")
            packed = path.read_bytes()
        except FileNotFoundError:
            if not (self.path / METADATA).is_file():
                raise ValueError("the folder is gone") from None
            return None  # all zeros
        if len(packed) < _BLOSC_HEADER_BYTES or _BLOSC_HEADER.unpack(packed[:_BLOSC_HEADER_BYTES]) != (
            self.shape[1] * self.shape[2],
            len(packed),
        ):
            raise ValueError("it is damaged")
        return packed


def half_written(path: Path) -> list[Path]:
    """Files that a killed program was writing in a Zarr folder: beside the metadata, or beside a frame's chunk.

    Looks only where they can be, which takes a quarter of a second for 20,000 frames.
    """
    chunks = path / "c"
    frames = os.listdir(chunks) if chunks.is_dir() else []
    found = [path / name for name in (os.listdir(path) if path.is_dir() else []) if name.endswith(PARTIAL)]
    for t in frames:
        folder = os.path.join(chunks, t, "0")
        with suppress(FileNotFoundError, NotADirectoryError):  # none of our making
            found += [Path(folder, name) for name in os.listdir(folder) if name.endswith(PARTIAL)]
    return found


def _codecs(array: Any) -> list[str]:
    return [codec.to_dict()["name"] for codec in array.metadata.codecs]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
