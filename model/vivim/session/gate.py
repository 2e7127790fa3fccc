"""The one gate through which masks are written, by persons and by models.

A model never writes over a frame a person corrected or accepted. What a person changes is kept first, so that it can
be taken back, also after a restart; and so is what a model had proposed there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from threading import get_ident

import numpy as np
from numpy.typing import ArrayLike

from vivim.errors import SessionError
from vivim.session.kept import State
from vivim.session.ledger import MODEL, PERSON, Entry, now
from vivim.session.record import digest
from vivim.session.undoable import Undoable
from vivim.session.writer import PERSONS

AT_ONCE = 500
"""Frames accepted between two moments at which others may write."""


class Gate(Undoable):
    """What persons and models may do to a frame. Methods may be called from any thread."""

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
        t, pixels, me = self._checked(t), self._checked_mask(mask), get_ident()

        def work() -> list[int]:
            self._keep(t, me)
            self._put(Entry(t, "corrected", author or self.author, PERSON, now()), pixels)
            return [t]

        self._write(work)

    def edit(self, t: int, mask: ArrayLike) -> None:
        """Part of a person's stroke on this frame.

        As `correct`; but a mask that is again, to the pixel, what it was before the step gives the frame its earlier
        status back: a stroke that was broken off is no correction.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)
        with self._lock:
            self._patience.settle()
            opened = self._open.get(get_ident())
            before = opened.before.get(t) if opened is not None else None
            if before is None or self._frames.status(t) != "corrected" or digest(pixels) != before.mask:
                self.correct(t, pixels)
                return

            def work() -> list[int]:
                self._put(replace(before, time=now()), pixels)
                return [t]

            self._write(work)

    def accept(self, t: int, author: str | None = None) -> None:
        """A person vouches for this frame's mask as it is; models leave it alone from now on.

        Raises
        ------
        SessionError
            If there is nothing to accept yet, its mask cannot be read, or it cannot be written.
        """
        t = self._checked(t)
        if self.status(t) == "empty":
            raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
        _ = self._masks[t]
        self.accept_frames([t], author)

    def accept_frames(self, frames: Iterable[int], author: str | None = None) -> list[int]:
        """A person vouches for the masks of several frames as they are, in one step.

        Returns
        -------
        list of int
            The frames that count as accepted now and did not before; those without a mask are passed over.

        Raises
        ------
        SessionError
            If it cannot be written; some of the frames may be accepted then, and one `undo` takes that back.
        """
        left, me, accepted = [self._checked(t) for t in frames], get_ident(), []

        def work(some: list[int]) -> list[int]:
            some = [t for t in some if self._frames.status(t) in ("proposed", "corrected")]
            for t in some:
                self._keep_status(t, me)
                entry = Entry(t, "accepted", author or self.author, PERSON, now(), mask=self._known(t).mask)
                self._put_status(entry)
            return some

        with self.one_step():
            for start in range(0, len(left), AT_ONCE):
                accepted += self._write(partial(work, left[start : start + AT_ONCE]))
        return accepted

    def clear(self, t: int, author: str | None = None) -> None:
        """A person gives this frame back: its mask is emptied and models may propose again."""
        t, me = self._checked(t), get_ident()

        def work() -> list[int]:
            self._keep(t, me)
            nothing = np.zeros(self.shape[1:], np.uint8)
            self._put(Entry(t, "empty", author or self.author, PERSON, now()), nothing)
            return [t]

        with self.one_step():
            self._write(work)

    def revert(self, t: int) -> bool:
        """A person gives this frame the mask back that a model had proposed, and models may propose again.

        Returns
        -------
        bool
            False if no model had proposed anything there before the person came, or it is that already.

        Raises
        ------
        SessionError
            If it cannot be written.
        """
        t, me = self._checked(t), get_ident()

        def work() -> list[int]:
            entry, pixels = self._state(t)
            proposal = self._frames.proposal(t)
            kept: State | None = (proposal, pixels) if proposal is not None and pixels is not None else None
            if kept is None or kept[0].mask != entry.mask:
                kept = self._proposals.of(t)
            if kept is None or (kept[0].status, kept[0].mask) == (entry.status, entry.mask):
                return []
            self._keep(t, me)
            self._put(replace(kept[0], time=now()), kept[1])
            return [t]

        with self.one_step():
            return bool(self._write(work))

    # -- what a model does ----------------------------------------------------------------------------------------

    def propose(
        self,
        t: int,
        mask: ArrayLike,
        model_version: str,
        uncertainty: float | None = None,
        windows: float | None = None,
    ) -> bool:
        """A model proposes this frame's mask ``(H, W)``.

        Parameters
        ----------
        t : int
            The frame.
        mask : array-like
            ``(H, W)``, labels from 0 to 255.
        model_version : str
            Who proposes.
        uncertainty, windows : float, optional
            How unsure the model is, in bits, and what of that comes from windows that disagree; see `vivim.doubt`.

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

        def work() -> list[int]:
            if self._frames.status(t) in PERSONS:
                return []
            self._leave_steps(t)
            self._put(Entry(t, "proposed", model_version, MODEL, now(), uncertainty, windows=windows), pixels)
            return [t]

        return bool(self._write(work))
