"""Number the lesions of a video, the connected components of its masks, the same way over time.

A lesion keeps the number of the one it overlaps most in the frame before. Where a lesion splits, the component that
overlaps most keeps the number and the others get new ones. Where two merge, the one that overlaps most gives its
number. A lesion that was out of sight for a few frames gets its number back where it reappears. Numbers depend only
on a frame and those before it, so that they are the same whichever frames are exported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vivim.imaging.components import Cleaning, Lesion, lesions_of

OUT_OF_SIGHT = 8
"""A lesion that reappears after at most so many frames without it may be the same."""


class Component(Protocol):
    """A `Lesion`, or one whose `image` is unpacked when asked for."""

    @property
    def category(self) -> int:
        """Class, from 1."""

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of its bounding box."""

    @property
    def image(self) -> NDArray[np.bool_]:
        """Pixels ``(h, w)`` within the box."""


@dataclass
class _Track:
    """A lesion as it was last seen."""

    id: int
    category: int
    seen: int
    component: Component

    def overlap(self, component: Component) -> int:
        """Pixels shared with a component of another frame."""
        (rows, columns), (other_rows, other_columns) = self.component.box, component.box
        top, bottom = max(rows.start, other_rows.start), min(rows.stop, other_rows.stop)
        left, right = max(columns.start, other_columns.start), min(columns.stop, other_columns.stop)
        if top >= bottom or left >= right:
            return 0
        one, other = (
            c.image[top - y.start : bottom - y.start, left - x.start : right - x.start]
            for c, (y, x) in ((self.component, (rows, columns)), (component, (other_rows, other_columns)))
        )
        return int(np.count_nonzero(one & other))


class Linker:
    """Number the lesions of masks, frame after frame."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._newest = 0
        self._frame = -1

    def copy(self) -> Linker:
        """Return an independent copy in the same state."""
        other = Linker()
        other._tracks = [replace(track) for track in self._tracks]
        other._newest, other._frame = self._newest, self._frame
        return other

    def same(self, other: Linker) -> bool:
        """Whether another one will number the frames that follow in the same way."""
        own, others = (
            [(track.id, track.category, track.seen, id(track.component)) for track in linker._tracks]
            for linker in (self, other)
        )
        return (own, self._newest, self._frame) == (others, other._newest, other._frame)

    def ids(self, components: Sequence[Component]) -> list[int]:
        """Number the components of the next frame, in their order."""
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._frame - track.seen <= OUT_OF_SIGHT + 1]
        chosen = self._matches(components)
        for i, component in enumerate(components):
            if i not in chosen:
                self._newest += 1
                chosen[i] = _Track(self._newest, component.category, self._frame, component)
                self._tracks.append(chosen[i])
            chosen[i].seen, chosen[i].component = self._frame, component
        return [chosen[i].id for i in range(len(components))]

    def _matches(self, components: Sequence[Component]) -> dict[int, _Track]:
        """The track that each component continues: those seen last come first, then the largest overlap."""
        pairs = [
            (-track.seen, -overlap, track.id, i, track)
            for track in self._tracks
            for i, component in enumerate(components)
            if track.category == component.category and (overlap := track.overlap(component))
        ]
        chosen: dict[int, _Track] = {}
        taken: set[int] = set()
        for *_, i, track in sorted(pairs, key=lambda pair: pair[:4]):
            if i not in chosen and track.id not in taken:
                chosen[i] = track
                taken.add(track.id)
        return chosen


class Lesions:
    """The lesions of masks ``(T, H, W)``, cleaned and found frame after frame, with one frame in memory at most."""

    def __init__(self, masks: Any, cleaning: Cleaning | None = None) -> None:
        self._masks, self._cleaning = masks, cleaning or Cleaning()
        self._linker = Linker()
        self._ids: list[list[int]] = []
        self._latest: tuple[int, list[Lesion]] = (-1, [])

    def clean(self, t: int) -> NDArray[np.uint8]:
        """Mask of a frame ``(H, W)`` uint8, cleaned."""
        return self._cleaning(self._masks[t])

    def link(self, stop: int) -> Iterator[int]:
        """Number the lesions of all frames before `stop` once, yielding each frame."""
        while len(self._ids) < stop:
            t = len(self._ids)
            self._ids.append(self._linker.ids(self._found(t)))
            yield t

    def of(self, t: int) -> list[Lesion]:
        """Lesions of a frame, in order of their numbers."""
        for _ in self.link(t + 1):
            pass
        found = [
            replace(lesion, id=number) for number, lesion in zip(self._ids[t], self._found(t), strict=True)
        ]
        return sorted(found, key=lambda lesion: lesion.id)

    def ids(self, t: int) -> list[int]:
        """Numbers of the lesions of a frame, in order. Once linked, its mask is not read."""
        for _ in self.link(t + 1):
            pass
        return sorted(self._ids[t])

    def picture(self, t: int) -> NDArray[np.int64]:
        """Frame ``(H, W)`` with the number of a lesion in each of its pixels."""
        numbers = np.zeros(self._masks.shape[1:], np.int64)
        for lesion in self.of(t):
            numbers[lesion.mask(numbers.shape)] = lesion.id
        return numbers

    def _found(self, t: int) -> list[Lesion]:
        if self._latest[0] != t:
            self._latest = t, lesions_of(self.clean(t))
        return self._latest[1]
