"""What a Labels layer shows and paints on: an array whose every write goes through the session's gate."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivim.errors import SessionError
from vivim.utils.system import check_fits

if TYPE_CHECKING:
    from vivim.session.session import Session

FRAMES_KEPT = 16


class MaskEditor:
    """An array-like ``(T, H, W)`` uint8 over a session's masks.

    Reading gives copies. Writing follows NumPy's rules for integers, slices, boolean masks and tuples of index
    arrays; each frame whose pixels change goes through the gate as a person's edit (`Session.edit`) and counts as
    corrected from then on. One write is one step for `Session.undo`, and so are several to the same frames until
    `Session.end_step`. A write that changes no pixel of a frame leaves its status alone. A mask that cannot be read is
    empty here; any write to it counts.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()
        self._changes = 0
        self._forget = session.on_change(self._drop)

    def _drop(self, t: int, status: str) -> None:
        with self._lock:
            self._cache.pop(t, None)
            self._changes += 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height, width."""
        return self._session.shape

    @property
    def size(self) -> int:
        """Number of pixels of all frames."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Size in bytes if it were all in memory."""
        return self.size

    def __len__(self) -> int:
        return self.shape[0]

    def _frame(self, t: int) -> NDArray[np.uint8]:
        """One frame, from memory if it is there; not to be changed by the caller."""
        with self._lock:
            cached, changes = self._cache.get(t), self._changes
            if cached is not None:
                self._cache.move_to_end(t)
        if cached is None:
            cached = self._session.shown(t)
            self._keep(t, cached, changes)
        return cached

    def _keep(self, t: int, frame: NDArray[np.uint8], changes: int) -> None:
        """Remember a frame, unless the session has changed since `changes` were counted: it may be an old one."""
        with self._lock:
            if self._changes == changes:
                self._cache[t] = frame
                while len(self._cache) > FRAMES_KEPT:
                    self._cache.popitem(last=False)

    def _read_frames(self, index: Any) -> NDArray[np.uint8]:
        """Frames an integer or slice asks for."""
        if isinstance(index, (int, np.integer)):
            return self._frame(_wrapped(int(index), len(self))).copy()
        if isinstance(index, slice):
            frames = [self._frame(t) for t in range(*index.indices(len(self)))]
            return np.stack(frames) if frames else np.empty((0, *self.shape[1:]), np.uint8)
        raise TypeError

    def __getitem__(self, key: Any) -> Any:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if isinstance(first, (int, np.integer)) and not isinstance(first, (bool, np.bool_)):
            frame = self._read_frames(first)
            return frame[rest] if rest else frame
        if isinstance(first, slice):
            block = self._read_frames(first)
            return block[(slice(None), *rest)] if rest else block
        if isinstance(key, tuple) and len(key) == 3 and all(isinstance(k, np.ndarray | list) for k in key):
            return self._gather(*(np.asarray(k) for k in key))
        return np.asarray(self)[key]

    def _gather(self, times: NDArray, rows: NDArray, columns: NDArray) -> NDArray[np.uint8]:
        """Pixels at index arrays, frame by frame, so that only frames touched are read."""
        times, rows, columns = np.broadcast_arrays(times, rows, columns)
        out = np.empty(times.shape, np.uint8)
        for t in np.unique(times):
            here = times == t
            out[here] = self._frame(_wrapped(int(t), len(self)))[rows[here], columns[here]]
        return out

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, tuple) and len(key) == 3 and all(isinstance(k, np.ndarray | list) for k in key):
            times, rows, columns = (np.asarray(k) for k in key)
            self._scatter(times, rows, columns, np.asarray(value))
            return
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if isinstance(first, (int, np.integer)) and not isinstance(first, (bool, np.bool_)):
            t = _wrapped(int(first), len(self))
            frame = self._frame(t).copy()
            frame[rest if rest else ...] = value
            self._write(t, frame)
        elif isinstance(first, slice):
            touched = range(*first.indices(len(self)))
            with self._session.one_step(touched):
                self._set_frames(touched, rest, value)
        else:
            changed = np.asarray(self).copy()
            changed[key] = value
            with self._session.one_step(range(len(self))):
                for t, frame in enumerate(changed):
                    self._write(t, frame.copy())

    def _set_frames(self, touched: range, rest: tuple, value: Any) -> None:
        """Set the same part of several frames."""
        if np.ndim(value) == 0:
            for t in touched:
                frame = self._frame(t).copy()
                frame[rest if rest else ...] = value
                self._write(t, frame)
        elif touched:
            block = np.stack([self._frame(t) for t in touched])
            block[(slice(None), *rest)] = value
            for t, frame in zip(touched, block, strict=True):
                self._write(t, frame.copy())

    def _scatter(self, times: NDArray, rows: NDArray, columns: NDArray, value: NDArray) -> None:
        """Set pixels at index arrays, frame by frame."""
        times, rows, columns = np.broadcast_arrays(times, rows, columns)
        value = np.broadcast_to(value, times.shape)
        touched = {int(t): _wrapped(int(t), len(self)) for t in np.unique(times)}
        with self._session.one_step(touched.values()):
            for t, at in touched.items():
                here = times == t
                frame = self._frame(at).copy()
                frame[rows[here], columns[here]] = value[here]
                self._write(at, frame)

    def _write(self, t: int, frame: NDArray[np.uint8]) -> None:
        if not np.array_equal(frame, self._frame(t)) or self._session.problem(t):
            with self._lock:
                changes = self._changes
            self._session.edit(t, frame)
            self._keep(t, frame, changes + 1)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        try:
            check_fits(self.nbytes, "A copy of all masks")
        except MemoryError as error:
            raise SessionError(f"{error}. Export the masks instead.") from None
        return np.asarray(np.stack([self._session.shown(t) for t in range(len(self))]), dtype=dtype)

    def astype(self, dtype: DTypeLike) -> NDArray:
        """A copy in memory, of another type."""
        return np.asarray(self).astype(dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> NDArray[np.uint8]:
        """A copy in memory, which no session knows."""
        return np.asarray(self)

    def close(self) -> None:
        """Stop listening to the session."""
        self._forget()


def _wrapped(t: int, length: int) -> int:
    if not -length <= t < length:
        raise IndexError(f"Frame {t} is not in a video of {length} frames.")
    return t % length
