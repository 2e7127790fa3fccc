"""The one gate through which masks are written, by persons and by models.

It keeps two promises. A model never writes over a frame a person corrected or accepted. And a crash at any moment
leaves nothing a person drew looking like a model's: for a person the ledger is written first, then the mask; for a
model the mask first, then the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.ledger import MODEL, PERSON, Entry, now
from vivim.session.record import Record, digest

RESTATE_SECONDS = 5.0
"""While a frame is being painted its ledger line is repeated at most this often."""

PERSONS = ("corrected", "accepted")


class Gate(Record):
    """Masks and ledger of one session behind one lock. Methods may be called from any thread."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], author: str, read_only: bool) -> None:
        super().__init__(folder, shape)
        self.author, self.read_only = author, read_only
        self._listeners: list[Callable[[int, str], None]] = []
        self._said: dict[int, float] = {}
        self._untouched: dict[int, tuple[str, Entry]] = {}
        self._undone: set[int] = set()
        self._stale = False

    # -- what a person does ---------------------------------------------------------------------------------------

    def correct(self, t: int, mask: ArrayLike, author: str | None = None) -> None:
        """A person drew this frame's mask ``(H, W)``; it counts as corrected from now on.

        Raises
        ------
        SessionError
            If it cannot be written. The mask that was there is still there, and so is its status, unless the disk
            takes not even one more line: the frame then stays a person's.
        ValueError
            If the mask has another shape, or labels that do not fit into uint8.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)

        def work() -> bool:
            self._remember_untouched(t)
            self._put(Entry(t, "corrected", author or self.author, PERSON, now()), pixels)
            return True

        self._write(t, work)

    def edit(self, t: int, mask: ArrayLike) -> None:
        """A person's stroke on this frame, or its undoing.

        As `correct`; but a mask that is again, to the pixel, what it was before the person first touched it gives the
        frame its earlier status back: a stroke that was undone is no correction. This is remembered until the session
        is closed.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)
        with self._lock:
            untouched, before = self._untouched.get(t, ("", None))
            if before is None or self._frames.status(t) != "corrected" or digest(pixels) != untouched:
                self.correct(t, pixels)
                return
            entry = replace(before, time=now())

            def work() -> bool:
                self._put(entry, pixels)
                self._undone.add(t)
                return True

            self._write(t, work)

    def accept(self, t: int, author: str | None = None) -> None:
        """A person vouches for this frame's mask as it is; models leave it alone from now on.

        Raises
        ------
        SessionError
            If there is nothing to accept yet, or it cannot be written.
        """
        t = self._checked(t)

        def work() -> bool:
            self._put(Entry(t, "accepted", author or self.author, PERSON, now()), None, sync=True)
            return True

        with self._lock:
            if self._frames.status(t) == "empty":
                raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
            self._write(t, work)

    def clear(self, t: int, author: str | None = None) -> None:
        """A person gives this frame back: its mask is emptied and models may propose again."""
        t = self._checked(t)

        def work() -> bool:
            nothing = np.zeros(self.shape[1:], np.uint8)
            self._put(Entry(t, "empty", author or self.author, PERSON, now()), nothing, sync=True)
            return True

        self._write(t, work)

    # -- what a model does ----------------------------------------------------------------------------------------

    def propose(self, t: int, mask: ArrayLike, model_version: str, uncertainty: float | None = None) -> bool:
        """A model proposes this frame's mask ``(H, W)``.

        Returns
        -------
        bool
            False if a person has corrected or accepted the frame: it is then left exactly as it is.

        Raises
        ------
        SessionError, ValueError
            As for `correct`.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)

        def work() -> bool:
            if self._frames.status(t) in PERSONS:
                return False
            self._stale = self._stale or t in self._undone
            self._undone.discard(t)
            self._put(Entry(t, "proposed", model_version, MODEL, now(), uncertainty), pixels)
            return True

        return self._write(t, work)

    # -- who listens ----------------------------------------------------------------------------------------------

    def on_change(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call ``listener(frame, status)`` after every write, in the thread that wrote.

        Returns
        -------
        callable
            Call it to stop listening.
        """
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def strokes_are_stale(self) -> bool:
        """Whether a model has, since the last call, written on a frame whose strokes had all been undone.

        A painter's undo history then holds pixels of the mask before; it should be forgotten.
        """
        stale, self._stale = self._stale, False
        return stale

    # -- inside ---------------------------------------------------------------------------------------------------

    def _write(self, t: int, work: Callable[[], bool]) -> bool:
        """Try `work`, one step on frame `t`, and tell the listeners if it says that it changed something."""
        with self._lock:
            if self.read_only:
                raise SessionError("This session is closed or open for reading only. Open it again to go on.")
            self._begin()
            try:
                self._ledger.check_in_place()
                changed = work()
            except OSError as error:
                raise self._not_written(error) from error
        if changed:
            self._tell(t)
        return changed

    def _begin(self) -> None:
        """Make ready what is made only when it is first written to."""

    def _put(self, entry: Entry, pixels: NDArray[np.uint8] | None, sync: bool = False) -> None:
        """Record and store: what makes a frame a person's goes before its pixels, anything else after them."""
        t = entry.frame
        if entry.status not in PERSONS:
            assert pixels is not None
            self._masks[t] = pixels
            self._record(entry, pixels, sync)
            return
        before = self._frames.state(t, self.author)
        said = self._record(entry, self._masks[t] if pixels is None else pixels, sync)
        try:
            if pixels is not None:
                self._masks[t] = pixels
        except OSError:
            if said:
                self._append(before)
            raise

    def _record(self, entry: Entry, pixels: NDArray[np.uint8], sync: bool) -> bool:
        """Append to the ledger, unless it would say again what was said for this frame a moment ago.

        What is left unsaid is the digest of the mask; it is said before another frame's line, or on closing.
        """
        t, last = entry.frame, self._frames.last(entry.frame)
        same = last is not None and (last.status, last.author, last.kind) == (
            entry.status,
            entry.author,
            entry.kind,
        )
        if same and entry.kind == PERSON and time.monotonic() - self._said.get(t, -np.inf) < RESTATE_SECONDS:
            self._unsaid.add(t)
            return False
        self._unsaid.discard(t)
        self._say_unsaid()
        self._append(replace(entry, mask=digest(pixels)), sync)
        return True

    def _say_unsaid(self) -> None:
        """Append what the latest masks are of frames whose lines were left out."""
        for t in tuple(self._unsaid):
            self._append(replace(self._frames.state(t, self.author), mask=digest(self._masks[t])))
            self._unsaid.discard(t)

    def _append(self, entry: Entry, sync: bool = False) -> None:
        self._ledger.append(entry, sync)
        self._said[entry.frame] = time.monotonic()
        self._frames.apply(entry)

    def _remember_untouched(self, t: int) -> None:
        """Keep what a frame was before a person first touched it."""
        if self._frames.status(t) not in PERSONS:
            before = self._readable(t)
            self._untouched.pop(t, None)
            if before is not None:
                self._untouched[t] = (digest(before), self._frames.state(t, self.author))

    def _readable(self, t: int) -> NDArray[np.uint8] | None:
        """A frame's mask, None if it is damaged: that must not keep a person from drawing it anew."""
        try:
            return self._masks[t]
        except SessionError:
            return None

    def _tell(self, t: int) -> None:
        status = self._frames.status(t)
        for listener in tuple(self._listeners):
            listener(t, status)

    def _checked_mask(self, mask: ArrayLike) -> NDArray[np.uint8]:
        pixels = np.asarray(mask)
        if pixels.shape != self.shape[1:]:
            raise ValueError(f"A mask of this video is {self.shape[1:]} pixels, not {pixels.shape}.")
        if pixels.dtype == np.uint8:
            return pixels
        with np.errstate(invalid="ignore"):
            labels = pixels.astype(np.uint8)
        if not np.array_equal(labels, pixels):
            raise ValueError("Labels must be whole numbers from 0 to 255.")
        return labels

    def _not_written(self, error: OSError) -> SessionError:
        return SessionError(
            f"Cannot write to {self.folder}: {error.strerror or error}. Free some space or check the folder, then "
            "repeat the last step; everything before it is safe."
        )
