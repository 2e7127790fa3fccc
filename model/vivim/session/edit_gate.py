"""The one gate through which masks are written, by persons and by models.

A model never writes over a frame a person corrected or accepted, nor over one that is damaged. What a person changes
is kept first, so that it can be taken back, also after a restart; and so is what a model had proposed there.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import get_ident

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.damage_check import UNREADABLE, DamageCheck
from vivim.session.frame_writer import FrameWriter
from vivim.session.history import History
from vivim.session.ledger import MODEL, PERSON, PERSONS, Entry, digest, now

AT_ONCE = 500
"""Frames accepted between two moments at which others may write."""


class EditGate:
    """What persons and models may do to a frame; `Session` says what each does and raises.

    Parameters
    ----------
    writer, history, damage
        Of the session.
    """

    def __init__(self, writer: FrameWriter, history: History, damage: DamageCheck) -> None:
        self._writer, self._history, self._damage = writer, history, damage
        self._frames, self._size = writer.frames, writer.masks.shape[1:]

    def correct(self, t: int, mask: ArrayLike, author: str | None) -> None:
        """A person drew a frame's mask."""
        self._replace(t, "corrected", self._checked_mask(mask), author)

    def edit(self, t: int, mask: ArrayLike) -> None:
        """Part of a person's stroke; one that was broken off gives the frame its earlier status back."""
        pixels = self._checked_mask(mask)
        with self._writer.lock:
            self._writer.queue.finish_interrupted()
            before = self._history.before(t)
            if before is None or self._frames.status(t) != "corrected" or digest(pixels) != before.mask:
                self._replace(t, "corrected", pixels, None)
                return

            def work() -> list[int]:
                self._writer.put(replace(before, time=now()), pixels)
                return [t]

            self._writer.run(work)

    def accept(self, t: int, author: str | None) -> None:
        """A person vouches for a frame's mask as it is shown."""
        if self._is_empty(t):
            raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
        shown = self._damage.shown(t)
        if self._frames.damaged.get(t) != UNREADABLE:
            self.accept_frames([t], author)
            return
        with self._history.one_step():
            self._replace(t, "accepted", shown, author)

    def accept_frames(self, frames: list[int], author: str | None) -> list[int]:
        """A person vouches for the masks of several frames as they are, in one step; returns the frames changed."""
        me = get_ident()

        def work(some: list[int]) -> list[int]:
            changing = ("proposed", "corrected")
            some = [t for t in some if self._frames.status(t) in changing or t in self._frames.damaged]
            for t in some:
                self._history.keep_status(t, me)
                mask = self._writer.entry(t).mask
                self._writer.put_status(self._by_person(t, "accepted", author, mask))
            return some

        with self._history.one_step():
            return self._in_parts(work, frames)

    def clear(self, t: int, author: str | None) -> None:
        """A person gives a frame back: it is empty."""
        if not self._is_empty(t):
            with self._history.one_step():
                self._replace(t, "empty", np.zeros(self._size, np.uint8), author)

    def revert(self, t: int) -> bool:
        """A person gives a frame back: it is what a model had proposed; False if there is nothing to change."""
        me = get_ident()

        def work() -> list[int]:
            entry, shown = self._writer.state(t)
            kept, pixels = self._history.proposal(entry, shown) or (None, None)
            if pixels is None and t in self._frames.damaged:
                kept, pixels = self._by_person(t, "empty", None), np.zeros(self._size, np.uint8)
            if kept is None or pixels is None or (kept.status, kept.mask) == (entry.status, entry.mask):
                return []
            self._history.keep(t, me)
            self._writer.put(replace(kept, time=now()), pixels)
            return [t]

        with self._history.one_step():
            return bool(self._writer.run(work))

    def propose(
        self, t: int, mask: ArrayLike, model: str, uncertainty: float | None, windows: float | None
    ) -> bool:
        """A model proposes a frame's mask; False if the frame is a person's, or damaged."""
        pixels, damaged = self._checked_mask(mask), list[int]()

        def work() -> list[int]:
            if self._frames.status(t) in PERSONS:
                return []
            if self._damage.before_a_model_writes(t):
                damaged.append(t)
                return []
            self._history.leave_steps(t)
            self._writer.put(Entry(t, "proposed", model, MODEL, now(), uncertainty, windows=windows), pixels)
            self._damage.wrote(t)
            return [t]

        written = bool(self._writer.run(work))
        self._writer.tell(damaged)
        return written

    def mend(self) -> list[int]:
        """A person keeps all frames that are known to be damaged as they are, and what is whole of the ledger."""

        def ledger() -> list[int]:
            if self._writer.ledger.damage:
                self._writer.ledger.mend()
            self._damage.ledger_problems = []
            return []

        def keep(some: list[int]) -> list[int]:
            for t in some:
                entry, pixels = self._writer.state(t)
                self._writer.put_status(replace(entry, author=self._writer.author))
                if pixels is None:
                    self._frames.mark_damaged(t, UNREADABLE)
            return some

        found = sorted(self._frames.damaged)
        self._writer.run(ledger)
        return self._in_parts(keep, found)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _replace(self, t: int, status: str, pixels: NDArray[np.uint8], author: str | None) -> None:
        """A person gives a frame another mask, and keeps the one before."""
        me = get_ident()

        def work() -> list[int]:
            self._history.keep(t, me)
            self._writer.put(self._by_person(t, status, author), pixels)
            return [t]

        self._writer.run(work)

    def _in_parts(self, work: Callable[[list[int]], list[int]], frames: list[int]) -> list[int]:
        """Do `work` to many frames, and let others write in between; returns what it changed."""
        changed: list[int] = []
        for start in range(0, len(frames), AT_ONCE):
            changed += self._writer.run(partial(work, frames[start : start + AT_ONCE]))
        return changed

    def _by_person(self, t: int, status: str, author: str | None, mask: str | None = None) -> Entry:
        return Entry(t, status, author or self._writer.author, PERSON, now(), mask=mask)

    def _is_empty(self, t: int) -> bool:
        return self._frames.status(t) == "empty" and not self._damage.problem(t)

    def _checked_mask(self, mask: ArrayLike) -> NDArray[np.uint8]:
        pixels = np.asarray(mask)
        if pixels.shape != self._size:
            raise ValueError(f"A mask of this video is {self._size} pixels, not {pixels.shape}.")
        if pixels.dtype == np.uint8:
            return pixels
        with np.errstate(invalid="ignore"):
            labels = pixels.astype(np.uint8)
        if not np.array_equal(labels, pixels):
            raise ValueError("Labels must be whole numbers from 0 to 255.")
        return labels
