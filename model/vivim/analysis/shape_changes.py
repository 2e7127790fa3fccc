"""Area of the lesions in every frame, and jumps of their shape from one frame to the next.

A lesion that doubles, moves aside or disappears within one frame is more often a mistake of the model than a change in
the patient. Measured from the masks on disk, each read once. Any thread.
"""

import threading
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from vivim.analysis.calibration import area_mm2, regions_of
from vivim.errors import SessionError
from vivim.session import Session

MIN_JUMP = 0.4
"""A change of shape below this, 1 - Dice of two neighbours, is never a jump."""

JUMP_DEVIATIONS = 4.0
"""Deviations by which a jump exceeds the video's usual change. In a fast video much changes all the time."""


class ShapeTrack:
    """Area of every frame in pixels and mm², and change of shape (1 - Dice) since the frame before, ``(T,)`` each.

    NaN where there is no mask yet or it cannot be read, and no area in mm² where a lesion has no scale.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.areas: NDArray[np.float32] = np.full(len(session), np.nan, np.float32)
        self.areas_mm2 = self.areas.copy()
        self.changes: NDArray[np.float32] = np.full(len(session), np.nan, np.float32)

    def measure(self, frames: Iterable[int], stop: threading.Event | None = None) -> Iterator[int]:
        """Measure these frames and their changes to both neighbours anew, and yield each that was measured."""
        wanted = sorted(set(frames))
        known = self._session.statuses > 0
        regions, spacing = regions_of(self._session.video), self._session.pixel_spacing_mm
        before: tuple[int, NDArray | None] = (-1, None)
        for at, t in enumerate(wanted):
            if stop is not None and stop.is_set():
                return
            left = before[1] if before[0] == t - 1 else _inside(self._mask(t - 1, known))
            mask = self._mask(t, known)
            inside = _inside(mask)
            self.areas[t] = np.nan if inside is None else np.count_nonzero(inside)
            in_mm2 = None if mask is None else area_mm2(mask, regions, spacing)
            self.areas_mm2[t] = np.nan if in_mm2 is None else in_mm2
            if t > 0:
                self.changes[t] = change(left, inside)
            if t + 1 < len(known) and (at + 1 == len(wanted) or wanted[at + 1] != t + 1):
                self.changes[t + 1] = change(inside, _inside(self._mask(t + 1, known)))
            before = (t, inside)
            yield t

    def areas_shown(self) -> tuple[NDArray[np.float32], str]:
        """Areas ``(T,)`` and their unit: ``"mm²"`` if every lesion has a scale, else ``"px"``.

        An empty frame has an area of 0 in any unit.
        """
        in_mm2 = np.where(self.areas == 0, np.float32(0), self.areas_mm2)
        lesions = self.areas > 0
        if np.isfinite(in_mm2[lesions]).all() and (lesions.any() or np.isfinite(self.areas_mm2).any()):
            return in_mm2, "mm²"
        return self.areas.copy(), "px"

    def _mask(self, t: int, known: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
        """Mask of frame `t`, None if there is none or it cannot be read."""
        if t < 0 or not known[t]:
            return None
        try:
            return np.asarray(self._session.masks[t])
        except SessionError:
            self._session.damaged(t)  # remembers it, so that the person is told
            return None

    def jumps(self) -> NDArray[np.intp]:
        """Frames whose shape jumps away from the frame before, in order. See `jumps_of`."""
        return jumps_of(self.changes)


def _inside(mask: NDArray[np.uint8] | None) -> NDArray[np.bool_] | None:
    """Pixels of any class."""
    return None if mask is None else mask > 0


def change(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> float:
    """1 - Dice of two masks ``(H, W)``. NaN where one is missing, 0 where both are empty."""
    if one is None or other is None:
        return np.nan
    both = np.count_nonzero(one) + np.count_nonzero(other)
    return 1 - 2 * np.count_nonzero(one & other) / both if both else 0.0


def jumps_of(changes: NDArray[np.floating]) -> NDArray[np.intp]:
    """Frames whose change is at least `MIN_JUMP`, and `JUMP_DEVIATIONS` deviations above the median.

    The deviation is the median absolute deviation times 1.4826, which is the standard deviation of a normal
    distribution (Leys et al., J. Exp. Soc. Psychol. 49 (2013) 764).
    """
    known = changes[np.isfinite(changes)]
    if not len(known):
        return np.zeros(0, np.intp)
    usual = float(np.median(known))
    deviation = 1.4826 * float(np.median(np.abs(known - usual)))
    least = min(1.0, max(MIN_JUMP, usual + JUMP_DEVIATIONS * deviation))
    return np.flatnonzero(changes >= least)
