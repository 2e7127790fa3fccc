"""A video as the data of an image layer: exact, but for what the viewer shows while its slider moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vivim.video import LazyFrames, Scrubber, Video


class ShownFrames(LazyFrames):
    """Frames of a video as layer data; exact, unless a `Scrubbing` says that the viewer is on its way to one."""

    def __init__(self, video: Video) -> None:
        super().__init__(video)
        self.shown: tuple[int, int] | None = None
        """At the last move of the slider: the frame asked for, and the one shown."""
        self._scrubber: Scrubber | None = None
        self._moving_to: Callable[[], int | None] = lambda: None
        self._window_thread = threading.get_ident()

    def preview_by(self, scrubber: Scrubber | None, moving_to: Callable[[], int | None]) -> None:
        """Take previews from `scrubber` of the frame that `moving_to` names, when the window's thread asks for it."""
        self._scrubber, self._moving_to = scrubber, moving_to
        self._window_thread = threading.get_ident()

    def __getitem__(self, key: Any) -> NDArray:
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        frame = _single(first, len(self))
        if self._scrubber is None or frame is None or threading.get_ident() != self._window_thread:
            return super().__getitem__(key)
        if frame != self._moving_to():
            return super().__getitem__(key)
        number, picture = self._scrubber.show(frame)
        self.shown = frame, number
        return (picture[None] if isinstance(first, slice) else picture)[
            (slice(None), *rest) if isinstance(first, slice) else tuple(rest)
        ]


def _single(key: Any, count: int) -> int | None:
    """The frame that an index along time picks, if it is just one."""
    if isinstance(key, slice):
        picked = range(*key.indices(count))
        return picked[0] if len(picked) == 1 else None
    return int(key) if isinstance(key, (int, np.integer)) and 0 <= key < count else None
