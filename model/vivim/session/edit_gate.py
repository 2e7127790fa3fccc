"""The one gate to masks: a step at a time, ledger and mask in an order that survives a crash, then the listeners.

A crash at any moment leaves nothing a person drew looking like a model's: what makes a frame a person's is said in
the ledger before its mask is written; anything else after. What a power cut leaves is up to `vivim.session.flusher`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.flusher import Flusher
from vivim.session.folder_lock import writing_in
from vivim.session.frame_snapshots import State
from vivim.session.ledger import PERSON, PERSONS, Entry, FrameTable, Ledger, digest
from vivim.session.mask_store import MaskStore
from vivim.session.write_queue import WriteQueue

RESTATE_SECONDS = 5.0
"""While a frame is being painted its ledger line is repeated at most this often."""


@dataclass(eq=False)
class EditGate:
    """The one gate to the masks of a session: any thread may call `run`, and what that runs calls the other methods.

    Those raise an `OSError` if the disk cannot take it, of which `run` makes a `SessionError`.

    `lock`: held by whoever writes, and by whoever needs nobody to write meanwhile. `unsaid`: frames whose
    last line in the ledger speaks of an earlier mask than the one on disk.
    """

    folder: Path
    masks: MaskStore
    ledger: Ledger
    frames: FrameTable
    """Of the session."""
    author: str
    """Who corrects; speaks of frames of which no line says who drew."""
    read_only: bool
    """Refuse every step; may be changed."""
    prepare: Callable[[], None]
    """Called before each step, in the thread that writes."""
    locked_by: str | None = None
    """Who locked the session, which refuses every step but those of a review then."""

    def __post_init__(self) -> None:
        self.flusher = Flusher(self.ledger, self.masks)
        self.queue = WriteQueue()
        self.lock = threading.RLock()
        self.unsaid: set[int] = set()
        self._listeners: list[Callable[[int, str], None]] = []
        self._said: dict[int, float] = {}

    def run(self, work: Callable[[], list[int]], when_locked: bool = False) -> list[int]:
        """Do `work`, one step, tell the listeners of the frames that it returns as changed, and return these.

        `when_locked` says that the step is allowed in a session that is locked.
        """
        untold: list[int] = []

        def step() -> list[int]:
            self.prepare()
            changed = work()
            untold.extend(changed)
            return changed

        try:
            with writing_in(self.folder), self.lock:
                self.queue.finish_interrupted()
                if self.read_only:
                    raise SessionError(
                        "This session is closed or open for reading only. Open it again to go on."
                    )
                if not when_locked:
                    self.refuse_if_locked()
                return self.queue(step, late=lambda changed: self.tell(untold))
        finally:  # a caller who is interrupted has mostly written, and may be interrupted while he tells
            try:
                self.tell(untold)
            finally:
                self.tell(untold)

    def refuse_if_locked(self) -> None:
        """Raise a `SessionError` if somebody has locked the session."""
        if self.locked_by is not None:
            raise SessionError(
                f"This session was locked by {self.locked_by}. Return it to draft with a reason to go on."
            )

    def on_change(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call ``listener(frame, status)`` after every step, and return what ends that."""
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def tell(self, untold: list[int]) -> None:
        """Tell the listeners of changed frames, and take those off the list of which they have been told."""
        while untold:
            t = untold[0]
            status = self.frames.status(t)
            for listener in tuple(self._listeners):
                listener(t, status)
            del untold[:1]

    def state(self, t: int) -> State:
        """What a frame counts as, and its mask. None if that is damaged, which must not keep anybody from drawing."""
        entry = self.frames.state(t, self.author)
        try:
            pixels = self.masks[t]
        except SessionError:
            return entry, None
        return replace(entry, mask=digest(pixels)), pixels

    def entry(self, t: int) -> Entry:
        """What a frame counts as, with the digest of its mask. Reads the mask only if the ledger does not say it."""
        entry = self.frames.state(t, self.author)
        return self.state(t)[0] if entry.mask is None or t in self.unsaid else entry

    def checked(self, mask: ArrayLike) -> NDArray[np.uint8]:
        """A mask ``(H, W)`` to write. Raises a `ValueError` for another shape, or labels that are no uint8."""
        pixels, size = np.asarray(mask), self.masks.shape[1:]
        if pixels.shape != size:
            raise ValueError(f"A mask of this video is {size} pixels, not {pixels.shape}.")
        if pixels.dtype == np.uint8:
            return pixels
        with np.errstate(invalid="ignore"):
            labels = pixels.astype(np.uint8)
        if not np.array_equal(labels, pixels):
            raise ValueError("Labels must be whole numbers from 0 to 255.")
        return labels

    def put(self, entry: Entry, pixels: NDArray[np.uint8]) -> None:
        """Write a line and a mask: the line goes first where it makes the frame a person's, else the mask."""
        if entry.status in PERSONS:
            self._put_persons(entry, pixels)
            return
        t = entry.frame
        self.masks[t] = pixels
        try:
            self._record(entry, pixels)
        except OSError:
            self.masks.withdraw(t)
            raise
        self.flusher.note_mask(t)

    def _put_persons(self, entry: Entry, pixels: NDArray[np.uint8]) -> None:
        t = entry.frame
        before, was_unsaid = self.frames.state(t, self.author), t in self.unsaid
        before = replace(before, mask=None) if was_unsaid else before
        said = self._record(entry, pixels)
        try:
            self.masks[t] = pixels
            if not said:
                self.masks.leave_without_line(t)
        except OSError:
            if said:
                self.unsaid.add(t)  # until the line of what it is, which follows if the disk takes it
                self._append(before)
                if not was_unsaid:
                    self.unsaid.discard(t)
            raise
        self.flusher.note_mask(t, said)

    def put_status(self, entry: Entry) -> None:
        """Write that a frame counts as something else from now on, without touching its mask."""
        self.say_unsaid()
        self._append(entry)

    def say_unsaid(self, but: int | None = None) -> None:
        """Append what the latest masks are of frames whose lines were left out."""
        for t in tuple(self.unsaid - {but}):
            self._append(replace(self.frames.state(t, self.author), mask=digest(self.masks[t])))
            self.unsaid.discard(t)
            self.flusher.note_mask(t)

    def divide(self) -> None:
        """Let no line speak of edits before and after this moment: what was left out is said now."""
        self.say_unsaid()
        self._said.clear()

    def _record(self, entry: Entry, pixels: NDArray[np.uint8]) -> bool:
        """Append to the ledger, unless it would say again what was said for this frame a moment ago.

        What is left unsaid is the digest of the mask; it is said before another frame's line, or on closing.
        """
        t, last = entry.frame, self.frames.last(entry.frame)
        wanted = (entry.status, entry.author, entry.kind)
        same = last is not None and (last.status, last.author, last.kind) == wanted
        same = same and t not in self.frames.damaged
        if same and entry.kind == PERSON and time.monotonic() - self._said.get(t, -np.inf) < RESTATE_SECONDS:
            self.unsaid.add(t)
            return False
        self.say_unsaid(but=t)
        self._append(replace(entry, mask=digest(pixels)))
        self.unsaid.discard(t)
        return True

    def _append(self, entry: Entry) -> None:
        self.ledger.append(entry)
        self.flusher.note_line()
        self._said[entry.frame] = time.monotonic()
        self.frames.apply(entry)
