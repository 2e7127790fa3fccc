"""The lesions of a session that is worked on, numbered over time and kept up to date frame by frame.

The same numbers as `vivim.imaging.lesion_tracking.Lesions` gives, without reading all masks again after each stroke.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.imaging.components import Part, parts_of
from vivim.imaging.lesion_tracking import Linker

if TYPE_CHECKING:
    from vivim.session import Session

STRETCH = 64
"""Frames after which the state of the numbering is kept, to go on from there."""


@dataclass(frozen=True, eq=False)
class _Packed:
    """A `Part` in a few hundred bytes."""

    category: int
    bbox: tuple[int, int, int, int]
    packed: bytes

    @property
    def shape(self) -> tuple[int, int]:
        top, left, bottom, right = self.bbox
        return bottom - top, right - left

    @property
    def image(self) -> NDArray[np.bool_]:
        height, width = self.shape
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)


def _packed(part: Part) -> _Packed:
    return _Packed(part.category, part.bbox, zlib.compress(np.packbits(part.image).tobytes(), 1))


class LesionTrack:
    """Numbers of the lesions of all frames. `measure` and `link` belong to one thread, `frame` to any.

    Parameters
    ----------
    session : Session
        Whose masks are read.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._parts: list[list[_Packed]] = [[] for _ in range(len(session))]
        self._numbered: list[list[tuple[int, _Packed]]] = [[] for _ in range(len(session))]
        self._before: dict[int, Linker] = {0: Linker()}
        self._changed: set[int] = set()

    def measure(self, frames: Iterable[int], stop: threading.Event | None = None) -> Iterator[int]:
        """Find the lesions of these frames anew; `link` then numbers them.

        Yields
        ------
        int
            Each frame that was read. Setting `stop` ends it.
        """
        for t in sorted(set(frames)):
            if stop is not None and stop.is_set():
                return
            try:
                mask = self._session.masks[t]
            except SessionError:
                mask = np.zeros(
                    self._session.shape[1:], np.uint8
                )  # damaged: shown as nothing until it is drawn anew
            self._parts[t] = [_packed(part) for part in parts_of(mask)]
            self._changed.add(t)
            yield t

    def link(self, stop: threading.Event | None = None) -> list[int]:
        """Number the lesions from the first frame measured since on; stops where nothing changes any more.

        Returns
        -------
        list of int
            Frames whose lesions or numbers are others than before.
        """
        renewed: list[int] = []
        while self._changed and not (stop is not None and stop.is_set()):
            first = min(self._changed)
            renewed += self._link_from(max(kept for kept in self._before if kept <= first), stop)
        return renewed

    def _link_from(self, start: int, stop: threading.Event | None) -> list[int]:
        """Number from a frame whose state before is kept, to the end or to where all goes on as it did."""
        linker, renewed = self._before[start].copy(), []
        for t in range(start, len(self._parts)):
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
        numbered = list(zip(linker.ids(self._parts[t]), self._parts[t], strict=True))
        if numbered == self._numbered[t]:
            return []
        self._numbered[t] = numbered
        return [t]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self._session.shape

    def frame(self, t: int) -> NDArray[np.uint16]:
        """Frame ``(H, W)`` with the number of a lesion in each of its pixels, as far as it is known by now."""
        numbers = np.zeros(self.shape[1:], self.dtype)
        for number, part in self._numbered[t]:
            top, left, bottom, right = part.bbox
            numbers[top:bottom, left:right][part.image] = min(number, 2**16 - 1)
        return numbers
