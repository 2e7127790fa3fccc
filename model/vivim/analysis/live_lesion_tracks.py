"""Number the lesions of a session that is being edited, and keep the numbers up to date frame by frame.

The same numbers as `vivim.imaging.lesion_tracking.Lesions` gives, without reading all masks again after each stroke.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.imaging.components import Lesion, lesions_of
from vivim.imaging.lesion_tracking import Linker
from vivim.session import Session

STRETCH = 64
"""Frames after which the state of the numbering is kept, to go on from there."""


@dataclass(frozen=True, eq=False)
class _PackedLesion:
    """A lesion in a few hundred bytes."""

    category: int
    box: tuple[slice, slice]
    packed: bytes

    @classmethod
    def of(cls, lesion: Lesion) -> _PackedLesion:
        return cls(lesion.category, lesion.box, zlib.compress(np.packbits(lesion.image).tobytes(), 1))

    @property
    def image(self) -> NDArray[np.bool_]:
        height, width = (side.stop - side.start for side in self.box)
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)


class LesionTrack:
    """Numbers of the lesions of all frames of a session. `measure` and `link` belong to one thread, `frame` to any."""

    dtype = np.dtype(np.uint16)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lesions: list[list[_PackedLesion]] = [[] for _ in range(len(session))]
        self._numbered: list[list[tuple[int, _PackedLesion]]] = [[] for _ in range(len(session))]
        self._before: dict[int, Linker] = {0: Linker()}
        self._changed: set[int] = set()

    def measure(self, frames: Iterable[int], stop: threading.Event | None = None) -> Iterator[int]:
        """Find the lesions of these frames anew, and yield each that was read. `link` then numbers them."""
        for t in sorted(set(frames)):
            if stop is not None and stop.is_set():
                return
            try:
                mask = self._session.masks[t]
            except SessionError:
                mask = np.zeros(self.shape[1:], np.uint8)  # damaged: shown as nothing until it is drawn anew
            self._lesions[t] = [_PackedLesion.of(lesion) for lesion in lesions_of(mask)]
            self._changed.add(t)
            yield t

    def link(self, stop: threading.Event | None = None) -> list[int]:
        """Number the lesions from the first frame that was measured anew, and return the frames that have changed."""
        renewed: list[int] = []
        while self._changed and not (stop is not None and stop.is_set()):
            first = min(self._changed)
            renewed += self._link_from(max(kept for kept in self._before if kept <= first), stop)
        return renewed

    def _link_from(self, start: int, stop: threading.Event | None) -> list[int]:
        """Number from a frame whose state before is kept, to the end or to where the state is as it was."""
        linker, renewed = self._before[start].copy(), []
        for t in range(start, len(self._lesions)):
            if stop is not None and stop.is_set():
                self._changed.add(t)
                break
            if t % STRETCH == 0 and t > start:
                kept = self._before.get(t)
                if kept is not None and kept.same(linker):
                    break
                self._before[t] = linker.copy()
            renewed += self._number(t, linker)
            self._changed.discard(t)
        return renewed

    def _number(self, t: int, linker: Linker) -> list[int]:
        numbered = list(zip(linker.ids(self._lesions[t]), self._lesions[t], strict=True))
        if numbered == self._numbered[t]:
            return []
        self._numbered[t] = numbered
        return [t]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self._session.shape

    def frame(self, t: int) -> NDArray[np.uint16]:
        """Frame ``(H, W)`` with the number of a lesion in each of its pixels, as of the last `link`."""
        numbers = np.zeros(self.shape[1:], self.dtype)
        for number, lesion in self._numbered[t]:
            numbers[lesion.box][lesion.image] = min(number, 2**16 - 1)
        return numbers
