"""Lesions: the connected parts of masks, cleaned on request, with numbers that stay the same over time.

A part keeps the number of the part it overlaps most in the frame before. Where a lesion splits, the piece that
overlaps most keeps the number and the others get new ones; where two merge, the one that overlaps most gives its
number. A lesion that was out of sight for a few frames gets its number back where it reappears. Numbers depend only
on a frame and those before it, so that they are the same whichever frames are exported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vivim.imaging.components import Cleaning, Lesion, Part, parts_of

OUT_OF_SIGHT = 8
"""A lesion that reappears after at most so many frames without it may be the same."""


class Piece(Protocol):
    """What can be numbered."""

    @property
    def category(self) -> int:
        """Class, from 1."""

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right; the latter two exclusive."""

    @property
    def image(self) -> NDArray[np.bool_]:
        """Pixels ``(h, w)`` within the box."""


@dataclass
class _Track:
    """A lesion as it was last seen."""

    id: int
    category: int
    seen: int
    part: Piece

    def overlap(self, part: Piece) -> int:
        """Pixels shared with a part of another frame."""
        top, left, bottom, right = (
            choose(a, b) for choose, a, b in zip((max, max, min, min), self.part.bbox, part.bbox, strict=True)
        )
        if top >= bottom or left >= right:
            return 0
        both = [
            p.image[top - p.bbox[0] : bottom - p.bbox[0], left - p.bbox[1] : right - p.bbox[1]]
            for p in (self.part, part)
        ]
        return int(np.count_nonzero(both[0] & both[1]))


class Linker:
    """Numbers the lesions of masks that are shown one after another."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._newest = 0
        self._frame = -1

    def copy(self) -> Linker:
        """Return one that goes on from here by itself."""
        other = Linker()
        other._tracks = [replace(track) for track in self._tracks]
        other._newest, other._frame = self._newest, self._frame
        return other

    def same(self, other: Linker) -> bool:
        """Whether another one will number what follows alike."""
        mine, others = (
            [(track.id, track.category, track.seen, id(track.part)) for track in linker._tracks]
            for linker in (self, other)
        )
        return (mine, self._newest, self._frame) == (others, other._newest, other._frame)

    def ids(self, parts: Sequence[Piece]) -> list[int]:
        """Numbers of the next frame's parts, in their order."""
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._frame - track.seen <= OUT_OF_SIGHT + 1]
        chosen = self._matches(parts)
        for i, part in enumerate(parts):
            if i not in chosen:
                self._newest += 1
                chosen[i] = _Track(self._newest, part.category, self._frame, part)
                self._tracks.append(chosen[i])
            chosen[i].seen, chosen[i].part = self._frame, part
        return [chosen[i].id for i in range(len(parts))]

    def _matches(self, parts: Sequence[Piece]) -> dict[int, _Track]:
        """The track that each part goes on with: those seen last come first, then the largest overlap."""
        pairs = [
            (-track.seen, -overlap, track.id, i, track)
            for track in self._tracks
            for i, part in enumerate(parts)
            if track.category == part.category and (overlap := track.overlap(part))
        ]
        chosen: dict[int, _Track] = {}
        taken: set[int] = set()
        for *_, i, track in sorted(pairs, key=lambda pair: pair[:4]):
            if i not in chosen and track.id not in taken:
                chosen[i] = track
                taken.add(track.id)
        return chosen


class Lesions:
    """The lesions of a stack of masks, found frame after frame and never more than one frame in memory.

    Parameters
    ----------
    masks : array-like
        ``(T, H, W)`` uint8 of classes, indexed by frame.
    cleaning : Cleaning
        Applied to each mask first.
    """

    def __init__(self, masks: Any, cleaning: Cleaning | None = None) -> None:
        self._masks, self._cleaning = masks, cleaning or Cleaning()
        self._linker = Linker()
        self._ids: list[list[int]] = []
        self._latest: tuple[int, list[Part]] = (-1, [])

    def clean(self, t: int) -> NDArray[np.uint8]:
        """Mask of a frame ``(H, W)`` uint8, cleaned."""
        return self._cleaning(self._masks[t])

    def link(self, stop: int) -> Iterator[int]:
        """Number the lesions of all frames before `stop`, yielding each frame; done once, however often called."""
        while len(self._ids) < stop:
            t = len(self._ids)
            self._ids.append(self._linker.ids(self._parts(t)))
            yield t

    def of(self, t: int) -> list[Lesion]:
        """Lesions of a frame, in order of their numbers."""
        for _ in self.link(t + 1):
            pass
        found = [
            Lesion(number, part.category, *part.bbox[:2], part.image)
            for number, part in zip(self._ids[t], self._parts(t), strict=True)
        ]
        return sorted(found, key=lambda lesion: lesion.id)

    def ids(self, t: int) -> list[int]:
        """Numbers of the lesions of a frame, in order; once linked, without reading its mask."""
        for _ in self.link(t + 1):
            pass
        return sorted(self._ids[t])

    def picture(self, t: int) -> NDArray[np.int64]:
        """Frame ``(H, W)`` with the number of a lesion in each of its pixels."""
        numbers = np.zeros(self._masks.shape[1:], np.int64)
        for lesion in self.of(t):
            numbers[lesion.mask(numbers.shape)] = lesion.id
        return numbers

    def _parts(self, t: int) -> list[Part]:
        if self._latest[0] != t:
            self._latest = t, parts_of(self.clean(t))
        return self._latest[1]
