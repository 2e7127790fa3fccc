"""Compare masks with the ledger, frame by frame, and know which frames are in doubt.

A frame is in doubt where its mask cannot be read, is not the one that its last line in the ledger speaks of, has no
line, or where that line is lost. Such a frame counts as a person's, so that no model writes over it, until a person
says what it is to be.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.session.last_close import LastClose, ranges
from vivim.session.ledger import PERSONS, DamagedLine, Entry
from vivim.session.mask_store import STROKE
from vivim.session.record import digest

if TYPE_CHECKING:
    from vivim.session.history import Undoable

UNREADABLE = "its mask cannot be read"
CHANGED = "its mask is not the one that the ledger speaks of"
MISSING = "its mask is missing"
NO_LINE = "it has a mask, but no line in the ledger"
LOST = "its line in the ledger is lost"
CUT_SHORT = "its latest mask is lost, and the one before is shown"
UNSAID_SECONDS = 6
"""A person's mask may be newer than its line, where the line is at most so much older than the ledger's last one."""
NAMED = 10
"""Damaged frames that are told by their numbers."""
SETTLE_SECONDS = 0.05
"""Somebody else who is writing a mask has also written its line after so long."""


@dataclass(frozen=True)
class Checked:
    """Progress of a check: one frame was compared.

    Attributes
    ----------
    frame : int
        Its number.
    problem : str
        What is wrong with it, in words that go on from "Frame 3: "; empty if nothing is.
    done, total : int
        How many are done, of how many.
    """

    frame: int
    problem: str
    done: int
    total: int


class Checker:
    """What is known of the damage to one session. Methods may be called from any thread.

    Parameters
    ----------
    record : Undoable
        Masks, ledger and frames of the session.
    tell : callable
        Told of frames that have become, or are no longer, in doubt; called without the session's lock.
    """

    def __init__(self, record: Undoable, tell: Callable[[list[int]], None]) -> None:
        self._record, self._store, self._tell = record, record.masks, tell
        self._sound: dict[int, tuple[int, int, int] | None] = {}
        self._maybe_newer: set[int] = set()
        self._size = 0
        self.lines_since_close = 0
        self.before: LastClose | None = None
        self.due = False
        """Whether ledger and masks are to be compared: nobody knows that they fit."""
        self.ledger_problems: list[str] = []

    # -- opening and closing --------------------------------------------------------------------------------------

    def replayed(
        self, entries: Callable[[Callable[[DamagedLine], None]], Iterator[Entry]]
    ) -> Iterator[Entry]:
        """Yield the entries of the ledger, to be applied one by one; between them, frames of lost lines get in doubt.

        Parameters
        ----------
        entries : callable
            `Ledger.read`.
        """
        before = self.before = LastClose.read(self._record.folder, len(self._record))
        reached, ledger = before is None, self._record._ledger

        def on_damage(line: DamagedLine) -> None:
            for t in line.frames:
                if t < len(self._record) and (self._record._frames.last(t) or self._store.stamp(t)):
                    self._record._frames.doubt(t, LOST)  # else nothing had been drawn there

        for entry in entries(on_damage):
            if not reached and before is not None and ledger.end > before.ledger_bytes:
                reached = True
                self._cache(before)
            self.lines_since_close += reached
            yield entry
        if not reached and before is not None:
            self._cache(before)

    def _cache(self, before: LastClose) -> None:
        """The ledger is as far as it was at the last close: what was a person's then is, or its line is lost."""
        frames = self._record._frames
        for t, problem in before.damaged.items():
            frames.doubt(t, problem)
        for t in np.setdiff1d(before.persons_frames(), frames.persons_frames()).tolist():
            frames.doubt(t, LOST)

    def judge_ledger(self) -> None:
        """Judge the ledger once it is read whole, before anything is added to it."""
        frames, ledger, before = self._record._frames, self._record._ledger, self.before
        self.ledger_problems = [f"Line {line.number} of the ledger is damaged" for line in ledger.damage[:3]]
        if len(ledger.damage) > 3:
            self.ledger_problems.append(f"{len(ledger.damage) - 3} more lines of the ledger are damaged")
        if before is not None and ledger.end < before.ledger_bytes:
            missing = before.ledger_bytes - ledger.end
            self.ledger_problems.append(f"The last {missing:,} bytes of the ledger are damaged or missing")
        if before is None and any(not line.frames for line in ledger.damage[:-1]):
            for t in np.flatnonzero(frames.codes).tolist():  # any of them may have been accepted
                if frames.status(t) not in PERSONS:
                    frames.doubt(t, LOST)

    def opened(self, unclean: bool) -> None:
        """Say whether masks are to be compared with the ledger, and which frames are in doubt already.

        Parameters
        ----------
        unclean : bool
            Whether who wrote last did not close the session.
        """
        frames, ledger, before = self._record._frames, self._record._ledger, self.before
        self._size = ledger.size()
        written = self._store.frames_written() if unclean or self.ledger_problems or not ledger.end else []
        without = [t for t in written if frames.last(t) is None]
        if without and not ledger.end and not self.ledger_problems:
            self.ledger_problems.append("The ledger is missing or empty")
        for t in without:
            frames.doubt(t, NO_LINE)
        if unclean:
            self._maybe_newer = self._painted_last()
        if unclean or self.ledger_problems:
            self._lost_after(self._record._steps.latest_of_each())
        known = before is None or (before.checked and before.ledger_bytes == ledger.end)
        self.due = unclean or not known or bool(self.ledger_problems or frames.damaged)

    def _lost_after(self, steps: dict[int, Entry]) -> None:
        """Frames that are still what they were before a person's latest step: what the ledger said of it is lost."""
        frames = self._record._frames
        suspects = {
            t: before
            for t, before in steps.items()
            if t < len(self._record)
            and (last := frames.last(t)) is not None
            and last.status not in PERSONS
            and (last.status, last.mask) == (before.status, before.mask)
            and last.time <= before.time
        }
        entries = self._record.entries() if suspects else ()
        for entry in entries:  # a step may have been taken back in its second
            before = suspects.get(entry.frame, entry)
            if entry.time >= before.time and (entry.status, entry.mask) != (before.status, before.mask):
                del suspects[entry.frame]
        for t in suspects:
            frames.doubt(t, LOST)

    def _painted_last(self) -> set[int]:
        """A person's frames whose last strokes may not have been spoken of yet when the program was killed."""
        entries = [
            entry for t in range(len(self._record)) if (entry := self._record._frames.last(t)) is not None
        ]
        times = [seconds for entry in entries if (seconds := _seconds(entry.time)) is not None]
        newest = max(times, default=0.0)
        return {
            entry.frame
            for entry in entries
            if entry.status in PERSONS and (_seconds(entry.time) or 0.0) >= newest - UNSAID_SECONDS
            and any(name.startswith(STROKE) for name in self._store.names(entry.frame))
        }

    def closing(self) -> LastClose:
        """What is to be known at the next opening."""
        frames = self._record._frames
        persons = ranges(frames.persons_frames())
        return LastClose(
            self._record._ledger.end, persons, dict(sorted(frames.damaged.items())), not self.due
        )

    # -- one frame ------------------------------------------------------------------------------------------------

    def problem(self, t: int) -> str:
        """What is wrong with a frame now; empty if nothing is. Compares its mask, unless nothing has changed since."""
        stamp = self._store.stamp(t)
        if t not in self._record._frames.damaged and t in self._sound and self._sound[t] == stamp:
            return ""
        return self._judged(t, self._store.readable(t), stamp)

    def sound(self, t: int) -> bool:
        """Whether nothing is wrong with a frame, as far as this program has seen; quicker than `problem`."""
        return t not in self._record._frames.damaged and (t in self._sound or not self.problem(t))

    def pixels(self, t: int) -> NDArray[np.uint8]:
        """The mask of a frame, zeros where it cannot be read; a frame that is found in doubt is noted."""
        stamp = self._store.stamp(t)
        pixels: NDArray[np.uint8] | None
        try:
            pixels = np.asarray(self._record.masks[t])
        except SessionError:
            pixels = self._store.readable(t)
        if pixels is None or self.due or t in self._record._frames.damaged:
            self._judged(t, pixels, stamp)
        return np.zeros(self._record.shape[1:], np.uint8) if pixels is None else pixels

    def _judged(self, t: int, pixels: NDArray[np.uint8] | None, stamp: tuple[int, int, int] | None) -> str:
        """Compare a frame's mask with its line; twice, if they differ: it may be being written."""
        found = self._compared(t, pixels)
        if found and found != UNREADABLE:
            if self._record.read_only:
                time.sleep(SETTLE_SECONDS)
                if (
                    self._record._ledger.size() != self._size
                ):  # somebody else goes on with it: nothing can be said
                    return self._record._frames.damaged.get(t, "")
            with (
                self._record._lock
            ):  # noted before anybody may write: it would be said of what is no longer there
                found, known = (
                    self._compared(t, self._store.readable(t)),
                    self._record._frames.damaged.get(t, ""),
                )
                if found and found != known:
                    self._record._frames.doubt(t, found)
            if found:
                if found != known:
                    self._tell([t])
                return found
        return self._note(t, found, stamp)

    def before_a_model_writes(self, t: int) -> bool:
        """Whether a frame is in doubt; for the thread that writes, while nobody else may."""
        frames, stamp = self._record._frames, self._store.stamp(t)
        if t in self._sound and self._sound[t] == stamp:
            return False
        found = "" if stamp is None and frames.last(t) is None else self._compared(t, self._store.readable(t))
        if found:
            frames.doubt(t, found)
        return bool(found)

    def wrote(self, t: int) -> None:
        """A frame's mask and line were just written."""
        self._sound[t] = self._store.stamp(t)

    def _compared(self, t: int, pixels: NDArray[np.uint8] | None) -> str:
        """What is wrong with a frame of this mask; empty if nothing is, or a person's strokes are just newer."""
        if pixels is None:
            return UNREADABLE
        entry = self._record._frames.last(t)
        if entry is None:
            return NO_LINE if pixels.any() else ""
        if entry.mask is None or t in self._record._unsaid or digest(pixels) == entry.mask:
            return ""
        if self._store.stamp(t) is None:
            return MISSING
        if t in self._maybe_newer and entry.status in PERSONS:
            self._record._unsaid.add(t)
            return ""
        return CHANGED

    def _note(self, t: int, found: str, stamp: tuple[int, int, int] | None) -> str:
        """Note what a comparison found, and tell where that is news; what only the ledger has lost stays in doubt."""
        frames = self._record._frames
        known = frames.damaged.get(t, "")
        if found:
            if found != known:
                frames.doubt(t, found)
                self._tell([t])
            return found
        if known in (LOST, CUT_SHORT):
            return known
        if known:
            frames.confidence(t)
            self._tell([t])
        self._sound[t] = stamp
        return ""

    # -- all frames -----------------------------------------------------------------------------------------------

    def check(self, start: int, stop: Event | None) -> Iterator[Checked]:
        """Compare all frames, nearest to `start` first; see `Gate.check`."""
        total = len(self._record)
        order = sorted(range(total), key=lambda t: abs(t - start)) if start else range(total)
        for done, t in enumerate(order, start=1):
            if stop is not None and stop.is_set():
                return
            yield Checked(t, self.problem(t), done, total)
        self.due = False


def damage_text(frames: Collection[int]) -> str:
    """Say of how many frames, and which, that they are damaged; a sentence without its full stop."""
    numbers = ", ".join(str(t) for t in sorted(frames)[:NAMED]) + (" ..." if len(frames) > NAMED else "")
    return (
        f"1 frame is damaged: {numbers}"
        if len(frames) == 1
        else f"{len(frames)} frames are damaged: {numbers}"
    )


def _seconds(text: str) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return None
