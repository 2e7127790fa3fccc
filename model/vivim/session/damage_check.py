"""Compare masks with the ledger, frame by frame, and know which frames are damaged.

A frame is damaged where its mask cannot be read, is not the one that its last line in the ledger speaks of, has no
line, or where that line is lost. Such a frame counts as a person's, so that no model writes over it, until a person
says what it is to be.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.session.edit_gate import EditGate
from vivim.session.frame_snapshots import UndoSteps
from vivim.session.ledger import PERSONS, DamagedLine, Entry, digest, ranges_of
from vivim.session.mask_store import STROKE
from vivim.session.recovery import recover
from vivim.utils.atomic_files import atomic_write

CLOSED = "closed.json"
CLOSED_BYTES = 2**26
"""A larger ``closed.json`` is none of ours."""
UNREADABLE = "its mask cannot be read"
CHANGED = "its mask is not the one that the ledger speaks of"
MISSING = "its mask is missing"
NO_LINE = "it has a mask, but no line in the ledger"
LOST = "its line in the ledger is lost"
CUT_SHORT = "its latest mask is lost, and the one before is shown"
NAMED = 10
"""Damaged frames that are told by their numbers."""
READER_SECONDS = 0.05
"""Somebody else who is writing a mask has also written its line after so long."""
_log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class LastClose:
    """``closed.json``: how a session was when it was last closed, to be compared with how it is found.

    A ledger that has lost its end looks whole. This says that something is missing, and whose the frames
    were.
    """

    ledger_bytes: int
    """Length of the ledger."""
    persons: tuple[tuple[int, int], ...]
    """Frames that were a person's, as ranges: first and last frame of each."""
    damaged: dict[int, str]
    """Frames that were known to be damaged, each with what is wrong."""
    checked: bool
    """False if a comparison of ledger and masks was due and not done to the end."""

    @classmethod
    def read(cls, folder: Path, frames: int) -> LastClose | None:
        """Read it for a session of so many frames. None if there is nothing, or it cannot be used."""
        path = folder / CLOSED
        try:
            if path.stat().st_size > CLOSED_BYTES:
                return None
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found = cls(
                int(values["ledger_bytes"]),
                tuple((int(first), int(last)) for first, last in values["persons"]),
                {int(t): str(why) for t, why in values["damaged"].items()},
                values["checked"] is True,
            )
            named = [*found.damaged, *(t for persons in found.persons for t in persons)]
            return found if all(0 <= t < frames for t in named) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None  # an older session, or damaged: nothing is known then


class DamageCheck:
    """What is known of the damage to one session. Methods may be called from any thread.

    `due`: whether ledger and masks are to be compared: nobody knows that they fit. `ledger_problems`: what is
    wrong with the ledger itself, in sentences without a full stop.
    """

    def __init__(self, gate: EditGate) -> None:
        self._gate, self._frames = gate, gate.frames
        self._masks, self._ledger = gate.masks, gate.ledger
        self._sound: dict[int, tuple[int, int, int] | None] = {}
        self._size = 0
        self._before: LastClose | None = None
        self._lines_since_close = 0
        self.due = False
        self.ledger_problems: list[str] = []

    def replay(self) -> None:
        """Apply the whole ledger, and mark frames whose lines are lost, before anything is added to it.

        Raises a `SessionError` if it cannot be read, or speaks of a frame that does not exist.
        """
        frames, ledger = self._frames, self._ledger
        before = self._before = LastClose.read(self._gate.folder, len(frames))
        reached = before is None

        def on_damage(line: DamagedLine) -> None:
            for t in line.frames:
                if t < len(frames) and (frames.last(t) or self._masks.stamp(t)):
                    frames.mark_damaged(t, LOST)  # else nothing had been drawn there

        for entry in ledger.read(on_damage):
            if not reached and before is not None and ledger.end > before.ledger_bytes:
                reached = True
                self._compare_with(before)
            self._lines_since_close += reached
            if not 0 <= entry.frame < len(frames):
                raise SessionError(
                    f"The ledger of this session speaks of frame {entry.frame}, which does not exist. Restore "
                    "session.json or ledger.jsonl from a backup."
                )
            frames.apply(entry)
        if not reached and before is not None:
            self._compare_with(before)
        damage = ledger.damage
        self.ledger_problems = [f"Line {line.number} of the ledger is damaged" for line in damage[:3]]
        if len(damage) > 3:
            self.ledger_problems.append(f"{len(damage) - 3} more lines of the ledger are damaged")
        if before is not None and ledger.end < before.ledger_bytes:
            missing = before.ledger_bytes - ledger.end
            self.ledger_problems.append(f"The last {missing:,} bytes of the ledger are damaged or missing")
        if before is None and any(not line.frames for line in damage[:-1]):
            for t in frames.frames_with("proposed"):  # any of them may have been accepted
                frames.mark_damaged(t, LOST)

    def _compare_with(self, before: LastClose) -> None:
        """The ledger is as far as it was at the last close: what was a person's then is, or its line is lost."""
        for t, problem in before.damaged.items():
            self._frames.mark_damaged(t, problem)
        persons = {t for first, last in before.persons for t in range(first, last + 1)}
        for t in persons.difference(self._frames.frames_with(*PERSONS)):
            self._frames.mark_damaged(t, LOST)

    def opened(self, unclean: bool, steps: UndoSteps) -> None:
        """Recover from a crash, and find which frames are damaged already, and whether all are to be compared.

        `unclean` says that who wrote last did not close the session, and `steps` what persons did. Raises an
        `OSError` if it cannot be written.
        """
        frames, before = self._frames, self._before
        if unclean and not self._gate.read_only:
            for t in recover(self._gate, self._lines_since_close):
                frames.mark_damaged(t, CUT_SHORT)
        end = self._ledger.end
        self._size = self._ledger.size()
        written = self._masks.frames_written() if unclean or self.ledger_problems or not end else []
        without = [t for t in written if frames.last(t) is None]
        if without and not end and not self.ledger_problems:
            self.ledger_problems.append("The ledger is missing or empty")
        for t in without:
            frames.mark_damaged(t, NO_LINE)
        if unclean or self.ledger_problems:
            self._find_lost_after(steps.latest_of_each())
        known = before is None or (before.checked and before.ledger_bytes == end)
        self.due = unclean or not known or bool(self.ledger_problems or frames.damaged)

    def _find_lost_after(self, steps: dict[int, Entry]) -> None:
        """Frames that are still what they were before a person's latest step: what the ledger said of it is lost."""
        suspects = {
            t: before
            for t, before in steps.items()
            if t < len(self._frames)
            and (last := self._frames.last(t)) is not None
            and last.status not in PERSONS
            and (last.status, last.mask) == (before.status, before.mask)
            and last.time <= before.time
        }
        for entry in self._ledger if suspects else ():  # a step may have been taken back in its second
            before = suspects.get(entry.frame, entry)
            if entry.time >= before.time and (entry.status, entry.mask) != (before.status, before.mask):
                del suspects[entry.frame]
        for t in suspects:
            self._frames.mark_damaged(t, LOST)

    def note_close(self) -> None:
        """Write what the next opening is to find, if it has changed. All must be on the disk before."""
        persons = ranges_of(self._frames.frames_with(*PERSONS))
        damaged = dict(sorted(self._frames.damaged.items()))
        found = LastClose(self._ledger.end, tuple(persons), damaged, not self.due)
        try:
            if found != self._before:
                with atomic_write(self._gate.folder / CLOSED) as part:
                    part.write_text(json.dumps(asdict(found)), encoding="utf-8")
        except OSError as error:  # without it the next opening compares more than it had to
            name = self._gate.folder.name
            _log.warning("%s/%s was not written: %s", name, CLOSED, error.strerror or error)

    def problem(self, t: int) -> str:
        """What is wrong with a frame, empty if nothing is. Compares its mask, unless that has not changed since."""
        stamp = self._masks.stamp(t)
        if t not in self._frames.damaged and t in self._sound and self._sound[t] == stamp:
            return ""
        return self._judged(t, self._masks.readable(t), stamp)

    def is_sound(self, t: int) -> bool:
        """Whether nothing is wrong with a frame, as far as this program has seen. Quicker than `problem`."""
        return t not in self._frames.damaged and (t in self._sound or not self.problem(t))

    def shown(self, t: int) -> NDArray[np.uint8]:
        """The mask ``(H, W)`` of a frame, zeros where it cannot be read. Marks a frame that it finds damaged."""
        stamp, pixels = self._masks.stamp(t), self._masks.readable(t)
        if pixels is None or self.due or t in self._frames.damaged:
            self._judged(t, pixels, stamp)
        return np.zeros(self._masks.shape[1:], np.uint8) if pixels is None else pixels

    def before_a_model_writes(self, t: int) -> bool:
        """Whether a frame is damaged. For the thread that writes, while nobody else may."""
        stamp = self._masks.stamp(t)
        if t in self._sound and self._sound[t] == stamp:
            return False
        unused = stamp is None and self._frames.last(t) is None
        found = "" if unused else self._compared(t, self._masks.readable(t))
        if found:
            self._frames.mark_damaged(t, found)
        return bool(found)

    def wrote(self, t: int) -> None:
        """A frame's mask and line were just written."""
        self._sound[t] = self._masks.stamp(t)

    def _judged(self, t: int, pixels: NDArray[np.uint8] | None, stamp: tuple[int, int, int] | None) -> str:
        """Compare a frame's mask with its line, and tell where the result is news.

        A difference is looked at twice, because the mask may be being written.
        """
        damaged, found = self._frames.damaged, self._compared(t, pixels)
        differs = found not in ("", UNREADABLE)
        if differs and self._gate.read_only:
            time.sleep(READER_SECONDS)
            if self._ledger.size() != self._size:  # somebody else goes on with it: nothing can be said
                return damaged.get(t, "")
        with self._gate.lock if differs else nullcontext():  # nobody may write before it is marked
            if differs:
                found = self._compared(t, self._masks.readable(t))
            known = damaged.get(t, "")
            if found and found != known:
                self._frames.mark_damaged(t, found)
        if not found and known in (LOST, CUT_SHORT):
            return known  # what only the ledger has lost
        if not found:
            self._sound[t] = stamp
            if known:
                self._frames.mark_whole(t)
        if found != known:
            self._gate.tell([t])
        return found

    def _compared(self, t: int, pixels: NDArray[np.uint8] | None) -> str:
        """What is wrong with a frame of this mask, empty if nothing is, or it is part of a person's stroke."""
        if pixels is None:
            return UNREADABLE
        entry = self._frames.last(t)
        if entry is None:
            return NO_LINE if pixels.any() else ""
        if entry.mask is None or t in self._gate.unsaid or digest(pixels) == entry.mask:
            return ""
        if self._masks.stamp(t) is None:
            return MISSING
        is_stroke = any(name.startswith(STROKE) for name in self._masks.names(t)[-1:])
        return "" if is_stroke and entry.status in PERSONS else CHANGED

    def check(self, start: int, stop: Event | None) -> Iterator[Checked]:
        """Compare all frames, nearest to `start` first, see `Session.check`."""
        total = len(self._frames)
        order = sorted(range(total), key=lambda t: abs(t - start)) if start else range(total)
        for done, t in enumerate(order, start=1):
            if stop is not None and stop.is_set():
                return
            yield Checked(t, self.problem(t), done, total)
        self.due = False


def damage_text(frames: Collection[int]) -> str:
    """Say how many frames are damaged, and which, in a sentence without its full stop."""
    numbers = ", ".join(str(t) for t in sorted(frames)[:NAMED]) + (" ..." if len(frames) > NAMED else "")
    return f"{'1 frame is' if len(frames) == 1 else f'{len(frames)} frames are'} damaged: {numbers}"
