"""`Video`, the base class of all readers: a bounded frame cache and an identity by content.

A reader subclasses `Video`, passes the attributes to its constructor and implements ``_decode(i)``, and ``_release()``
where it holds a file open. One decoder behind one lock serves all who look at the video, so that frame numbers can
never disagree.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.errors import FrameError, VideoError
from vivim.utils.lru_cache import LRUCache

CACHE_BYTES = 128 * 2**20
"""Decoded frames kept in memory by each open video."""

MAX_PIXELS = 8192 * 4096
"""Largest picture that is read, in pixels: enough for 8K video. A damaged header may claim more than memory holds."""

IDENTITY_BYTES = 2**20
"""How much of a file's beginning and end goes into its identity."""


class FrameCache(LRUCache[int, NDArray]):
    """The latest decoded frames, bounded in bytes. May be asked from any thread, also while a frame is decoded."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        super().__init__(limit, lambda frame: frame.nbytes)

    def put(self, key: int, value: NDArray) -> None:
        """Keep a frame, which becomes read-only."""
        value.setflags(write=False)
        super().put(key, value)

    def nearest(self, i: int) -> int | None:
        """The number of the frame here that is nearest to `i`."""
        with self._lock:
            return min(self._values, key=lambda at: abs(at - i), default=None)


LARGEST_ASPECT = 8.0
"""Pixels are at most so many times as wide as high, or as high as wide. What says more is damaged."""


def plausible_aspect(aspect: float) -> float:
    """Width by height of a pixel, 1 where that cannot be."""
    return aspect if 1 / LARGEST_ASPECT <= aspect <= LARGEST_ASPECT else 1.0


class Video:
    """A video, lazily read. `frame` may be called from any thread.

    Parameters
    ----------
    path : Path
        The file or folder.
    shape : tuple of int
        ``(T, H, W, 3)`` of RGB, or ``(T, H, W)`` of grey.
    dtype : dtype
        uint8 or uint16.
    fps : float or None
        Frames per second, where they are known.
    pixel_spacing_mm : tuple of float or None
        Height and width of a pixel in mm, where they are known.
    cache_bytes : int
        Decoded frames that are kept in memory.
    files : list of Path, optional
        The files that it is read from, in order, where `path` is a folder.
    pixel_aspect : float
        Width by height of a stored pixel, where its size is not known.
    notes : sequence of str
        What a person should know about the file, each one or two sentences.

    Raises
    ------
    VideoError
        If there are no frames.
    """

    _starts: Sequence[float] | None = None
    """When each frame is shown, in seconds from the first, where the file says so frame by frame."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: np.dtype | type = np.uint8,
        fps: float | None = None,
        pixel_spacing_mm: tuple[float, float] | None = None,
        cache_bytes: int = CACHE_BYTES,
        files: list[Path] | None = None,
        pixel_aspect: float = 1.0,
        notes: Sequence[str] = (),
    ) -> None:
        if shape[0] < 1:
            raise VideoError(f"{path.name} has no frames. Choose another file.")
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.fps, self.pixel_spacing_mm = fps, pixel_spacing_mm
        self._aspect, self.notes = pixel_aspect, tuple(notes)
        self.files = files or [path]
        """The files that it is read from, in order."""
        self._lock = threading.RLock()
        self._cache = FrameCache(cache_bytes)
        self.closed = False
        """Whether its file was let go of."""
        self.frames_stated = shape[0]
        """Frames that the file should have. More than there are where it is cut short and says so."""

    def __len__(self) -> int:
        return self.shape[0]

    def frame(self, i: int) -> NDArray:
        """Frame `i`, read-only: ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint8 or uint16.

        Raises
        ------
        IndexError
            If there is no such frame.
        VideoError
            If it cannot be decoded, or the video is closed.
        """
        if len(self) <= i < self.frames_stated:
            raise FrameError(
                f"Frame {i} of {self.path.name} is not there: the file is cut short. Copy it anew."
            )
        if not 0 <= i < len(self):
            raise IndexError(f"Frame {i} is not in a video of {len(self)} frames.")
        found = self._cache.get(int(i))
        if found is not None and not self.closed:
            return found
        with self._lock:
            if self.closed:
                raise VideoError(f"{self.path.name} has been closed. Open it again.")
            found = self._cache.get(i)
            if found is None:
                found = self._decode(int(i))
                self._cache.put(int(i), found)
            return found

    def frames(self, i: int, j: int) -> Iterator[NDArray]:
        """Frames `i` to `j` - 1, in order."""
        for t in range(i, j):
            yield self.frame(t)

    def ready(self, i: int) -> bool:
        """Whether frame `i` is in memory: `frame` then returns at once, even while another thread decodes."""
        return self._cache.get(i) is not None

    def fetch(self, i: int, stop: Callable[[], bool]) -> NDArray | None:
        """Frame `i`, or None if `stop` said so before it was decoded."""
        return None if stop() else self.frame(i)

    def preview(self, i: int) -> tuple[int, NDArray]:
        """The frame nearest to `i` that can be had at once, and its number: for the eye only, never for a mask."""
        return i, self.frame(i)

    def frame_time(self, i: int) -> float:
        """When frame `i` is shown, in seconds from the first. Frame numbers where the video has no rate."""
        if self._starts is not None:
            return self._starts[i]
        return i / self.fps if self.fps else float(i)

    @property
    def pixel_aspect(self) -> float:
        """Width by height of a stored pixel, 1.0 where it is square or nothing is known."""
        if self.pixel_spacing_mm is None:
            return self._aspect
        return self.pixel_spacing_mm[1] / self.pixel_spacing_mm[0]

    def identity(self) -> str:
        """SHA-256 over the video's shape and its file's size, beginning and end, as hexadecimal digits.

        Of several files, the names and sizes of all count, and the beginnings and ends of the first and the last.
        """
        if self.files == [self.path]:
            return file_identity(self.files, self.shape)
        named = ((file.name, file.stat().st_size) for file in self.files)
        return file_identity([self.files[0], self.files[-1]], (*self.shape, *named))

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        with self._lock:
            self.closed = True
            self._cache.drop_to(0)
            self._release()

    def _decode(self, i: int) -> NDArray:
        raise NotImplementedError

    def _release(self) -> None:
        """Close what the reader holds open."""


def file_identity(paths: list[Path], shape: tuple[object, ...]) -> str:
    """Digest of some files' sizes, beginnings and ends, and of a shape and whatever else tells them apart."""
    digest = hashlib.sha256(repr(shape).encode())
    for path in paths:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(IDENTITY_BYTES))
            if size > IDENTITY_BYTES:
                file.seek(max(IDENTITY_BYTES, size - IDENTITY_BYTES))
                digest.update(file.read(IDENTITY_BYTES))
    return digest.hexdigest()


def check_size(height: int, width: int, name: str) -> None:
    """Refuse pictures with too many pixels, or none, before anything is decoded."""
    if height < 1 or width < 1:
        raise VideoError(f"{name} has pictures without pixels. Export it anew.")
    if height * width > MAX_PIXELS:
        raise VideoError(
            f"{name} has pictures of {width}x{height} pixels, more than the {MAX_PIXELS // 10**6} million that are "
            "read. Scale it down, or cut out the part that matters."
        )


def oriented(picture: NDArray, orientation: int) -> NDArray:
    """A picture as it is to be shown, by the orientation that EXIF and TIFF note of it, 1 to 8; 1 is as it is."""
    if 5 <= orientation <= 8:
        picture = picture.swapaxes(0, 1)
    picture = picture[
        :: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1
    ]
    return np.ascontiguousarray(picture)


def over_black(picture: NDArray, alpha: NDArray) -> NDArray:
    """A picture ``(H, W, C)`` over black, by its opacity ``(H, W)`` of the same type."""
    top = np.iinfo(alpha.dtype).max
    return ((picture.astype(np.uint32) * alpha[..., None] + top // 2) // top).astype(picture.dtype)


def check_picture(picture: NDArray, path: Path) -> NDArray:
    """Make a decoded picture ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16, or raise a `VideoError`."""
    if picture.dtype == bool:
        picture = picture.astype(np.uint8) * 255
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        picture = picture[..., : picture.shape[2] - 1]  # what the fourth is has not been said
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    colour = picture.ndim == 3 and picture.shape[2] == 3
    if picture.dtype not in (np.uint8, np.uint16) or not (colour or picture.ndim == 2):
        raise VideoError(
            f"{path.name} holds pictures of type {picture.dtype} and shape {picture.shape}. "
            "Convert them to 8- or 16-bit grey or RGB."
        )
    return np.ascontiguousarray(picture)
