"""The one gate through which masks are written, by persons and by models.

A model never writes over a frame a person corrected or accepted. What a person changes is kept first, so that it can
be taken back, also after a restart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.ledger import MODEL, PERSON, Entry, now
from vivim.session.record import digest
from vivim.session.undo import REDO, UNDO, UndoSteps
from vivim.session.writer import PERSONS, Writer


class Gate(Writer):
    """What persons and models may do to a frame. Methods may be called from any thread."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], author: str, read_only: bool) -> None:
        super().__init__(folder, shape, author, read_only)
        self._untouched: dict[int, tuple[str, Entry]] = {}
        self._steps = UndoSteps(folder / UNDO, shape[1:])
        self._visited: int | None = None
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
            self._keep(t, again=self._visited == t)
            self._visited = t
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
            self._keep(t)
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
            self._keep(t)
            nothing = np.zeros(self.shape[1:], np.uint8)
            self._put(Entry(t, "empty", author or self.author, PERSON, now()), nothing, sync=True)
            return True

        self._write(t, work)

    def undo(self, t: int) -> bool:
        """Give a frame the mask and status it had before a person last worked on it, in this run or an earlier.

        All strokes on a frame until the next frame is touched are one step; accepting and clearing are steps of their
        own. The latest `STEPS_KEPT` steps of all frames together are kept on disk.

        Returns
        -------
        bool
            False if nothing is kept of this frame, or it is as it was.

        Raises
        ------
        SessionError
            If it cannot be written.
        """
        return self._restore(self._checked(t), UNDO, REDO)

    def redo(self, t: int) -> bool:
        """Take back the last `undo` of a frame that was not worked on since; returns and raises as that does."""
        return self._restore(self._checked(t), REDO, UNDO)

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
            self._visited = None if self._visited == t else self._visited
            self._put(Entry(t, "proposed", model_version, MODEL, now(), uncertainty), pixels)
            return True

        return self._write(t, work)

    def strokes_are_stale(self) -> bool:
        """Whether a model has, since the last call, written on a frame whose strokes had all been undone.

        A painter's undo history then holds pixels of the mask before; it should be forgotten.
        """
        stale, self._stale = self._stale, False
        return stale

    # -- inside ---------------------------------------------------------------------------------------------------

    def _keep(self, t: int, again: bool = False) -> None:
        """Keep what a frame is before a person changes it; `again` is for the next stroke on the same frame."""
        persons = self._frames.status(t) in PERSONS
        if again and persons:
            return
        self._visited = None
        entry, before = self._present(t)
        if not persons:
            self._untouched.pop(t, None)
            if before is not None and entry.mask is not None:
                self._untouched[t] = (entry.mask, entry)
        if before is not None and not again:
            self._steps.keep(entry, before)
            for step in self._steps.of(t, REDO):
                self._steps.drop(step)

    def _present(self, t: int) -> tuple[Entry, NDArray[np.uint8] | None]:
        """What a frame counts as and its mask; None if that is damaged, which must not keep anybody from drawing."""
        entry = self._frames.state(t, self.author)
        try:
            pixels = self._masks[t]
        except SessionError:
            return entry, None
        return replace(entry, mask=digest(pixels)), pixels

    def _restore(self, t: int, source: str, other: str) -> bool:
        """Exchange a frame with its latest kept state that differs from what it is."""

        def work() -> bool:
            entry, present = self._present(t)
            for step in self._steps.of(t, source):
                kept = self._steps.read(step)
                if kept is None or (kept[0].status, kept[0].mask) == (entry.status, entry.mask):
                    self._steps.drop(step)
                    continue
                if present is not None:
                    self._steps.keep(entry, present, other, instead_of=step)
                self._visited = None
                self._put(replace(kept[0], time=now()), kept[1])
                self._steps.drop(step)
                return True
            return False

        return bool(self._steps.of(t, source)) and self._write(t, work)
