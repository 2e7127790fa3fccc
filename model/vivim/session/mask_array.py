"""Masks as arrays ``(T, H, W)`` of which only the frames that are asked for are read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivim.errors import SessionError
from vivim.utils.lru_cache import LRUCache
from vivim.utils.system import check_fits

if TYPE_CHECKING:
    from vivim.session.session import Session

FRAMES_KEPT = 16


class FrameArray:
    """Array-like ``(T, H, W)`` uint8 that is read frame by frame. `shape`: frames, height and width."""

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of pixels of all frames."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Size in bytes if it were all in memory."""
        return self.size

    def _frame(self, t: int) -> NDArray[np.uint8]:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        first, rest = _parted(key)
        if _is_number(first):
            return self._frame(self._wrapped(first))[rest]
        frames, inner = self._touched(key)
        if isinstance(first, slice) and frames:
            return np.stack([self._frame(t)[rest] for t in frames])
        return self._block(frames)[inner]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self._block(list(range(len(self)))), dtype=dtype)

    def _block(self, frames: list[int]) -> NDArray[np.uint8]:
        """Several frames ``(n, H, W)``."""
        block = np.empty((len(frames), *self.shape[1:]), np.uint8)
        for pixels, t in zip(block, frames, strict=True):
            pixels[:] = self._frame(t)
        return block

    def _touched(self, key: Any) -> tuple[list[int], Any]:
        """The frames that a key is about, and the key to these frames alone."""
        first, rest = _parted(key)
        if isinstance(first, slice):
            return list(range(*first.indices(len(self)))), (slice(None), *rest)
        if isinstance(first, np.ndarray | list) and np.asarray(first).dtype.kind in "iu":
            times = np.asarray(first)
            for t in (times.min(initial=0), times.max(initial=0)):
                self._wrapped(t)  # or it is no frame
            frames, inner = np.unique(times % len(self), return_inverse=True)
            return frames.tolist(), (inner.reshape(times.shape), *rest)
        return list(range(len(self))), key

    def _wrapped(self, t: int) -> int:
        if not -len(self) <= t < len(self):
            raise IndexError(f"Frame {t} is not in a video of {len(self)} frames.")
        return int(t) % len(self)


class MaskEditor(FrameArray):
    """What a Labels layer shows and paints on: a session's masks, whose every write goes through its gate.

    Reading gives copies. Writing follows NumPy's rules for integers, slices, boolean masks and tuples of index
    arrays; each frame whose pixels change goes through the gate as a person's edit (`Session.edit`) and counts as
    corrected from then on. One write is one step for `Session.undo`, and so are several to the same frames until
    `Session.end_step`. A write that changes no pixel of a frame leaves its status alone. A mask that cannot be read
    is empty here; any write to it counts.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session.shape)
        self._session = session
        self._cache: LRUCache[int, NDArray[np.uint8]] = LRUCache(FRAMES_KEPT)
        self._lock = threading.Lock()
        self._changes = 0
        self._forget = session.on_change(self._drop)

    def _drop(self, t: int, status: str) -> None:
        with self._lock:
            self._cache.drop(t)
            self._changes += 1

    def _frame(self, t: int) -> NDArray[np.uint8]:
        """One frame, from the cache if it is there. The caller must not change it."""
        changes, cached = self._changes, self._cache.get(t)
        if cached is None:
            cached = self._session.shown(t)
            self._keep(t, cached, changes)
        return cached

    def _keep(self, t: int, frame: NDArray[np.uint8], changes: int) -> None:
        """Cache a frame, unless the session has changed since `changes` were counted: it may be an old one."""
        with self._lock:
            if self._changes == changes:
                self._cache.put(t, frame)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key).copy()

    def __setitem__(self, key: Any, value: Any) -> None:
        first, rest = _parted(key)
        if _is_number(first):
            t = self._wrapped(first)
            frame = self._frame(t).copy()
            frame[rest] = value
            self._write(t, frame)
            return
        frames, inner = self._touched(key)
        with self._session.one_step(frames):
            if isinstance(first, slice) and np.ndim(value) == 0:
                for t in frames:  # one by one, since they may not fit into memory
                    self[(t, *rest)] = value
                return
            block = self._block(frames)
            block[inner] = value
            for t, frame in zip(frames, block, strict=True):
                self._write(t, frame if len(frames) == 1 else frame.copy())

    def _write(self, t: int, frame: NDArray[np.uint8]) -> None:
        if not np.array_equal(frame, self._frame(t)) or self._session.problem(t):
            changes = self._changes
            self._session.edit(t, frame)
            self._keep(t, frame, changes + 1)

    def _block(self, frames: list[int]) -> NDArray[np.uint8]:
        if len(frames) == len(self):
            try:
                check_fits(self.nbytes, "A copy of all masks")
            except MemoryError as error:
                raise SessionError(f"{error}. Export the masks instead.") from None
        return super()._block(frames)

    def astype(self, dtype: DTypeLike) -> NDArray:
        """A copy in memory, of another type."""
        return np.asarray(self).astype(dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> NDArray[np.uint8]:
        """A copy in memory, which no session knows."""
        return np.asarray(self)

    def close(self) -> None:
        """Stop listening to the session."""
        self._forget()


def _parted(key: Any) -> tuple[Any, tuple]:
    """What a key says of frames, and what it says of the pixels in them."""
    return (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())


def _is_number(key: Any) -> bool:
    return isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.bool_))
