"""A video as an array-like, for viewers that slice: nothing is decoded before it is asked for."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivim.errors import VideoError
from vivim.utils.system import check_fits
from vivim.video.base import Video


class Frames(Protocol):
    """What can be had frame by frame, such as a `Video`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all frames together, time first."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the pixels."""

    def frame(self, i: int) -> NDArray:
        """Frame number `i`."""


class LazyFrames:
    """An array-like ``(T, H, W)`` or ``(T, H, W, 3)`` over a video.

    Indexing follows NumPy. For integers, slices, and a list of frames, alone or first in a tuple, only the frames
    named by it are decoded; anything else decodes them all.
    """

    def __init__(self, video: Frames) -> None:
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
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        listed = isinstance(first, (list, np.ndarray))
        by_frame = isinstance(first, (slice, int, np.integer)) and not isinstance(first, bool)
        if listed and np.ndim(first) == 1:
            by_frame = not any(isinstance(k, (list, np.ndarray)) for k in rest)
        if not by_frame:
            return self._block(range(len(self)))[key]
        which = np.arange(len(self))[first]
        if which.ndim == 0:
            return self.video.frame(int(which))[tuple(rest)]
        return self._block(which)[(slice(None), *rest)]

    def _block(self, frames: Sequence[int] | NDArray) -> NDArray:
        try:
            check_fits(len(frames) * self.nbytes / len(self), f"An array of {len(frames)} frames")
        except MemoryError as error:
            raise VideoError(f"{error}. Take fewer frames at once.") from None
        pictures = [self.video.frame(int(t)) for t in frames]
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LazyFrames | NDArray":
        """The same frames without what shows them: of a video, which nobody changes, lazily, else in memory."""
        return LazyFrames(self.video) if isinstance(self.video, Video) else self[:]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[:], dtype=dtype)
