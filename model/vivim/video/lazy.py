"""A video as an array-like, for viewers that slice: nothing is decoded before it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivim.video.base import Video


class LazyFrames:
    """An array-like ``(T, H, W)`` or ``(T, H, W, 3)`` over a video.

    Indexing follows NumPy for integers, slices and tuples of them; only the frames named by the first index are
    decoded.
    """

    def __init__(self, video: Video) -> None:
        self.video = video

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole video."""
        return self.video.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""
        return self.video.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values of the whole video."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Size in bytes if it were all in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if first is Ellipsis or (isinstance(key, tuple) and not key):
            first, rest = slice(None), (Ellipsis, *rest)
        if isinstance(first, slice):
            frames = [self.video.frame(t) for t in range(*first.indices(len(self)))]
            block = np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)
            return block[(slice(None), *rest)]
        if isinstance(first, (list, np.ndarray)):
            return np.stack([self[int(t)] for t in np.asarray(first)])[(slice(None), *rest)]
        t = int(first)
        if not -len(self) <= t < len(self):
            raise IndexError(f"Frame {t} is not in a video of {len(self)} frames.")
        return self.video.frame(t % len(self))[rest]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[:], dtype=dtype)
