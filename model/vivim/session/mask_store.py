"""Masks on disk: a Zarr array, one frame a chunk, so that a stroke rewrites one small file and nothing else.

A new mask is first written beside the old one, as ``waiting.N``, and is the frame's mask from then on for everybody
who reads through this module. It takes the chunk's own name, so that Zarr alone reads it too, once the disk has both
the mask and its line in the ledger; see `vivim.session.flusher`. So no power cut finds an old mask gone and the new
one, or what it counts as, not there yet. ``stroke.N`` is part of a stroke that has no line of its own yet. N counts
up with every write to the frame.

What is read is not trusted: a folder may come from anywhere, and a chunk may claim to be larger than a frame.
"""

import errno
import os
import secrets
import stat
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import BloscCodec

from vivim.errors import SessionError
from vivim.session.folder_lock import refuse_links
from vivim.session.ledger import write_whole
from vivim.session.mask_array import FrameArray
from vivim.utils.atomic_files import flush_one

MASKS = "masks.zarr"
METADATA = "zarr.json"
PARTIAL = ".partial"
"""How the names of files end that are being written."""
CHUNK, WAITING, STROKE = "0", "waiting", "stroke"
"""Files in a frame's folder: its mask, those that wait for the disk, those whose line was left out."""
METADATA_BYTES = 2**16
"""A larger ``zarr.json`` is none of ours."""

_BLOSC_HEADER = struct.Struct("<4xI4xI")
"""Of the 16 bytes a compressed chunk begins with: its size once unpacked, and its size as it is."""
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Opening what is no file must not wait for anybody."""
_MOST_OVERHEAD = 4096
"""By so many bytes a packed chunk may be larger than its frame."""


class MaskStore(FrameArray):
    """Array-like ``(T, H, W)`` uint8 of a session's masks.

    All zeros until it is created or opened. Written by the session's gate only. Methods that write raise an `OSError`
    if the disk cannot take it. `path` is the Zarr folder, `shape` that of the video.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)
        self.path = path
        self.chunks = (1, *shape[1:])
        self._made = False
        self._turn = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._new_folders: set[int] = set()

    def create(self) -> None:
        """Make a new array of zeros in place of any there. Frames never written take no space."""
        zarr.create_array(
            store=str(self.path),
            shape=self.shape,
            chunks=self.chunks,
            dtype="uint8",
            overwrite=True,
            fill_value=0,
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1),
            dimension_names=("time", "y", "x"),
        )
        self._made = True

    def open(self, read_only: bool) -> None:
        """Open the array of an existing session.

        Raises a `SessionError` if it is missing, damaged, or not as `create` makes it for this shape.
        """
        try:
            if (self.path / METADATA).stat().st_size > METADATA_BYTES:
                raise ValueError(f"{METADATA} is too large")
            array = zarr.open_array(str(self.path), mode="r" if read_only else "r+")
            metadata: Any = array.metadata
            codecs = [codec.to_dict()["name"] for codec in metadata.codecs]
            found = (array.shape, str(array.dtype), array.chunks, int(array.fill_value or 0), codecs)
        except Exception as error:  # damaged metadata fails in any way inside Zarr
            raise SessionError(
                f"The masks in {self.path} cannot be read ({_first_line(error)}). Restore them from a backup."
            ) from error
        if found != (self.shape, "uint8", self.chunks, 0, ["bytes", "blosc"]):
            raise SessionError(
                f"The masks in {self.path} are {found[0]} {found[1]}, or packed in another way than this program "
                f"does, but the session's video is {self.shape}. Restore session.json or masks.zarr from a backup."
            )
        self._made = True

    def __getitem__(self, key: Any) -> Any:
        if not self._made:
            return np.broadcast_to(np.uint8(0), self.shape)[key].copy()
        try:
            return super().__getitem__(key)
        except IndexError:
            raise
        except Exception as error:  # a damaged chunk fails in any way inside its decoder
            what = f"The mask of frame {key}" if isinstance(key, (int, np.integer)) else "A mask"
            raise SessionError(
                f"{what} in {self.path} cannot be read ({_first_line(error)}). Restore it from a backup, or draw "
                "this frame anew."
            ) from error

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[:], dtype=dtype)

    def __setitem__(self, t: int, pixels: NDArray[np.uint8]) -> None:
        if not (self.path / METADATA).is_file():  # making the folders anew would lose the frame
            raise FileNotFoundError(errno.ENOENT, "the masks have been moved or removed")
        refuse_links(self.path, "c", str(t), "0")
        folder = self._folder(t)
        # As the codec of `create` packs it.
        packed = blosc.compress(np.ascontiguousarray(pixels), b"lz4", 1, blosc.NOSHUFFLE, 0, 1)
        if t not in self._numbers:
            self._clear_place(t)
        if not os.path.isdir(folder):
            self._new_folders.add(t)
            os.makedirs(folder, exist_ok=True)
        if t not in self._numbers:
            self._numbers[t] = max(map(number, self.names(t)), default=0)
        part = f"{folder}/{CHUNK}.{secrets.token_hex(16)}{PARTIAL}"
        try:
            with open(part, "xb", buffering=0) as file:
                write_whole(file, packed)
            os.replace(part, f"{folder}/{WAITING}.{self._numbers[t] + 1}")
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise
        self._numbers[t] += 1

    def number(self, t: int) -> int:
        """Of the mask that was written to a frame last."""
        return self._numbers.get(t, 0)

    def withdraw(self, t: int) -> None:
        """Take back the mask that was just written."""
        with suppress(OSError):
            os.unlink(f"{self._folder(t)}/{WAITING}.{self._numbers[t]}")

    def leave_without_line(self, t: int) -> None:
        """Mark the mask that was just written as part of a person's stroke, without a line in the ledger yet."""
        folder, n = self._folder(t), self._numbers[t]
        with self._turn:
            os.replace(f"{folder}/{WAITING}.{n}", f"{folder}/{STROKE}.{n}")

    def flush(self, t: int, n: int) -> None:
        """Wait until the disk has a new mask of a frame, without its name."""
        with self._turn if os.name == "nt" else nullcontext():  # Windows renames no file that is open
            for name in (WAITING, STROKE):
                with suppress(FileNotFoundError):
                    flush_one(f"{self._folder(t)}/{name}.{n}")

    def forget_older(self, t: int, n: int) -> bool:
        """Remove the files of a frame's masks before number `n`, and return whether there were any."""
        older = [name for name in self.names(t) if number(name) < n]
        for name in older:
            os.unlink(f"{self._folder(t)}/{name}")
        return bool(older)

    def put_in_place(self, t: int, n: int) -> None:
        """Give a new mask its chunk's name, once the disk has its line."""
        for name in (WAITING, STROKE):
            with self._turn, suppress(FileNotFoundError):
                os.replace(f"{self._folder(t)}/{name}.{n}", f"{self._folder(t)}/{CHUNK}")

    def flush_names(self, frames: Iterable[int]) -> None:
        """Wait until the disk has the names of the files of frames, and of their folders."""
        above: set[str] = set()
        for t in frames:
            flush_one(self._folder(t))
            if t in self._new_folders:
                flush_one(os.path.dirname(self._folder(t)))
                above |= {str(self.path), f"{self.path}/c"}
        for folder in above:
            flush_one(folder)
        self._new_folders.difference_update(frames)

    def keep(self, t: int, name: str) -> None:
        """Let one of a frame's files be its only mask, on the disk when this returns."""
        folder = self._folder(t)
        self._new_folders.add(t)
        if name != CHUNK:
            flush_one(f"{folder}/{name}")
        self.flush_names([t])
        for other in self.names(t):
            if other != name:
                os.unlink(f"{folder}/{other}")
        self.flush_names([t])
        if name != CHUNK:
            os.replace(f"{folder}/{name}", f"{folder}/{CHUNK}")
            self.flush_names([t])

    def _clear_place(self, t: int) -> None:
        """Move away what is no file in the place of a frame's file, and no folder in that of its folders."""
        *folders, file = (self.path / "c" / part for part in (str(t), f"{t}/0", f"{t}/0/{CHUNK}"))
        for path in [path for path in folders if path.is_file()][:1] or [file] * file.is_dir():
            os.rename(path, self.path / f"damaged-{t}-{secrets.token_hex(4)}")

    def names(self, t: int) -> list[str]:
        """The files of a frame's masks that wait for the disk or their line, the oldest first."""
        try:
            names = os.listdir(self._folder(t))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(filter(number, names), key=number)

    def read_file(self, t: int, name: str) -> NDArray[np.uint8] | None:
        """The mask ``(H, W)`` in one of a frame's files, None if there is none or it is not whole."""
        with suppress(Exception):  # not whole fails in any way inside the decoder
            file = self._opened(t, name)
            return None if file is None else self._unpacked(file)
        return None

    def readable(self, t: int) -> NDArray[np.uint8] | None:
        """One frame ``(H, W)``, None if it cannot be read. Raises a `SessionError` if all masks are gone."""
        if not self._made:
            return np.zeros(self.shape[1:], np.uint8)
        try:
            return self._frame(t)
        except Exception as error:  # a damaged chunk fails in any way inside its decoder
            if not (self.path / METADATA).is_file():
                raise SessionError(
                    f"The masks in {self.path} have been moved or removed. Put them back."
                ) from error
            return None

    def stamp(self, t: int) -> tuple[int, int, int] | None:
        """What tells a frame's file from an earlier or later one. None if there is none, and the frame is zeros."""
        try:
            with self._turn:  # the latest mask is one that waits for the disk, or the chunk
                info = os.stat(f"{self._folder(t)}/{(self.names(t) or [CHUNK])[-1]}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info.st_ino, info.st_size, info.st_mtime_ns

    def frames_written(self) -> list[int]:
        """Frames that have, or had, a file: those with a folder of their own."""
        folder = self.path / "c"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isdecimal() and int(name) < len(self))

    def frames_left(self) -> list[int]:
        """Frames with masks that a program was putting in place when it ended."""
        named = ((frame, names) for frame, _, names in _frame_folders(self.path) if frame.isdecimal())
        return [int(frame) for frame, names in named if int(frame) < len(self) and any(map(number, names))]

    def _folder(self, t: int) -> str:
        return f"{self.path}/c/{t}/0"

    def _frame(self, t: int) -> NDArray[np.uint8]:
        """One frame, unpacked here: a tenth of the time that going through Zarr takes."""
        with self._turn:  # a mask may be between two names
            for name in reversed(self.names(t)):
                if (found := self.read_file(t, name)) is not None:
                    return found
            file = self._opened(t, CHUNK)
        if file is not None:
            return self._unpacked(file)
        if not (self.path / METADATA).is_file():
            raise ValueError("the folder is gone")
        return np.zeros(self.shape[1:], np.uint8)  # never written

    def _opened(self, t: int, name: str) -> BinaryIO | None:
        try:
            descriptor = os.open(f"{self._folder(t)}/{name}", os.O_RDONLY | _NO_WAITING)
        except FileNotFoundError:
            return None
        return open(descriptor, "rb", buffering=0)

    def _unpacked(self, file: BinaryIO) -> NDArray[np.uint8]:
        """Read the mask ``(H, W)`` of a file, and close that. Raises a `ValueError` if it does not unpack to one."""
        pixels = np.empty(self.shape[1:], np.uint8)
        with file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise ValueError("it is no file")
            if info.st_size > pixels.size + _MOST_OVERHEAD:
                raise ValueError("it is too large")
            packed = file.read()
        header = packed[: _BLOSC_HEADER.size]
        if len(header) < _BLOSC_HEADER.size or _BLOSC_HEADER.unpack(header) != (pixels.size, len(packed)):
            raise ValueError("it is damaged")
        blosc.decompress(packed, pixels)
        return pixels


def number(name: str) -> int:
    """Number in the name of a mask that waits for the disk or its line, 0 for any other name."""
    kind, _, digits = name.partition(".")
    return int(digits) if kind in (WAITING, STROKE) and digits.isdecimal() and len(digits) < 10 else 0


def half_written(path: Path) -> list[Path]:
    """Files that a killed program was writing in a Zarr folder: beside the metadata, or beside a frame's chunk."""
    places = [(str(path), os.listdir(path) if path.is_dir() else [])]
    places += [(folder, names) for _, folder, names in _frame_folders(path)]
    return [Path(folder, name) for folder, names in places for name in names if name.endswith(PARTIAL)]


def _frame_folders(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The folders of frames in a Zarr folder: name of the frame, path, names in it.

    Symbolic links are left out. Looks only where they can be, which takes a quarter of a second for 20,000 frames.
    """
    chunks = path / "c"
    frames = [one.name for one in os.scandir(chunks) if not one.is_symlink()] if chunks.is_dir() else []
    for frame in frames:
        folder = os.path.join(chunks, frame, "0")
        with suppress(FileNotFoundError, NotADirectoryError):  # none of our making
            if not os.path.islink(folder):
                yield frame, folder, os.listdir(folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
