"""States of frames kept in files: the ledger's line of what a frame counted as, then its pixels, packed."""

import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vivim.session.ledger import LINE_BYTES, Entry, from_line, to_line
from vivim.session.record import digest

State = tuple[Entry, NDArray[np.uint8] | None]
"""What a frame counted as, and its mask; None where only its status is kept."""

PROPOSALS = "proposals"
_LENGTH_BYTES = 16


def pack(entry: Entry, pixels: NDArray[np.uint8] | None) -> bytes:
    """A state as bytes; `entry` carries the digest of the pixels."""
    packed = b"" if pixels is None else zlib.compress(np.ascontiguousarray(pixels).data, 1)
    return to_line(entry) + b"%d\n" % len(packed) + packed


def entries(path: Path, most: int | None = None) -> list[Entry]:
    """Read the lines of the first `most` states of a file without unpacking any mask; none where there is no file."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        found: list[Entry] = []
        while len(found) != most and (header := _header(file)) is not None:
            file.seek(header[1], os.SEEK_CUR)
            found.append(header[0])
        return found


def states(path: Path, shape: tuple[int, int]) -> Iterator[State]:
    """The states a file holds, as far as they are whole; one whose pixels are damaged is left out.

    Parameters
    ----------
    path : Path
        States one after another; nothing is found if it is not there.
    shape : tuple of int
        Height and width of a mask.
    """
    if not path.is_file():
        return
    count = shape[0] * shape[1]
    with path.open("rb") as file:
        while (header := _header(file)) is not None:
            entry, length = header
            if length > 2 * count + LINE_BYTES:
                return
            packed = file.read(length)
            if len(packed) < length:
                return  # a crash cut it short
            if not length:
                yield entry, None
            elif (pixels := _unpacked(packed, count)) is not None and digest(pixels) == entry.mask:
                yield entry, pixels.reshape(shape)


def _header(file: BinaryIO) -> tuple[Entry, int] | None:
    """The line of the next state, and how many bytes its pixels take; None where there is none that is whole."""
    try:
        entry = from_line(file.readline(LINE_BYTES))
        length = int(file.readline(_LENGTH_BYTES))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None
    return (entry, length) if length >= 0 else None


def _unpacked(packed: bytes, count: int) -> NDArray[np.uint8] | None:
    try:
        raw = zlib.decompressobj().decompress(packed, count)
    except zlib.error:
        return None
    return np.frombuffer(raw, np.uint8) if len(raw) == count else None


class Proposals:
    """What models proposed for the frames that persons changed since, one file a frame.

    Parameters
    ----------
    folder : Path
        Where they are kept; made when the first is.
    shape : tuple of int
        Height and width of a mask.
    changed : callable
        Gets every file that was written.
    """

    def __init__(self, folder: Path, shape: tuple[int, int], changed: Callable[[Path], None]) -> None:
        self._folder, self._shape, self._changed = folder, shape, changed

    def keep(self, entry: Entry, pixels: NDArray[np.uint8]) -> None:
        """Keep a frame's proposal, instead of an earlier one.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._folder.mkdir(exist_ok=True)
        path, part = self._path(entry.frame), self._folder / f".{entry.frame}.part"
        if path.is_dir():  # it must not keep anybody from drawing
            os.rename(path, self._folder / f"damaged-{entry.frame}-{secrets.token_hex(4)}")
        try:
            part.write_bytes(pack(entry, pixels))
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._changed(path)

    def of(self, t: int) -> State | None:
        """A frame's proposal; None if none is kept, or it is damaged."""
        kept = next(states(self._path(t), self._shape), None)
        return kept if kept is not None and kept[0].frame == t else None

    def _path(self, t: int) -> Path:
        return self._folder / f"{t}.mask"
