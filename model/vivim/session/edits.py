"""The one gate through which masks are written, by persons and by models.

A model never writes over a frame a person corrected or accepted, nor over one that is in doubt. What a person changes
is kept first, so that it can be taken back, also after a restart; and so is what a model had proposed there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, get_ident

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.damage_check import UNREADABLE, Checked, Checker
from vivim.session.frame_snapshots import State
from vivim.session.history import Undoable
from vivim.session.ledger import MODEL, PERSON, PERSONS, Entry, now
from vivim.session.record import digest

AT_ONCE = 500
"""Frames accepted between two moments at which others may write."""


class Gate(Undoable):
    """What persons and models may do to a frame. Methods may be called from any thread."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], author: str, read_only: bool) -> None:
        super().__init__(folder, shape, author, read_only)
        self._checker = Checker(self, self._tell)

    # -- which frames are in doubt --------------------------------------------------------------------------------

    def damaged(self, t: int) -> bool:
        """Whether a frame's mask cannot be read, or is not what the ledger says; its `status` is a person's then.

        Compares the mask with the ledger, unless that was done and the mask has not changed since.
        """
        return bool(self._checker.problem(self._checked(t)))

    def problem(self, t: int) -> str:
        """What is known to be wrong with a frame, in words, empty if nothing is; nothing is read from disk."""
        return self._frames.damaged.get(t, "")

    @property
    def damage(self) -> dict[int, str]:
        """What is wrong with each frame that is known to be damaged, in words; nothing is read from disk."""
        return dict(sorted(self._frames.damaged.items()))

    @property
    def ledger_damage(self) -> list[str]:
        """What is wrong with the ledger itself, in sentences without a full stop."""
        return list(self._checker.ledger_problems)

    @property
    def ledger_kept_in(self) -> Path | None:
        """The file beside the ledger in which this opening, or `mend`, has kept what was damaged."""
        return self._ledger.kept_in

    @property
    def check_due(self) -> bool:
        """Whether masks and ledger are to be compared: the session was not closed, or something is damaged."""
        return self._checker.due

    def check(self, start: int = 0, stop: Event | None = None) -> Iterator[Checked]:
        """Compare every mask with what the ledger says of it.

        A frame that is found in doubt counts as a person's from then on; those who listen are told.

        Parameters
        ----------
        start : int
            The frame to begin at.
        stop : threading.Event, optional
            Set it to end the check after the frame it is at.

        Yields
        ------
        Checked
            One a frame. The check may be closed at any time, and begins anew the next time.
        """
        yield from self._checker.check(self._checked(start), stop)

    def mend(self) -> list[int]:
        """Keep all frames that are known to be damaged as a person's, and the ledger without its damaged lines.

        The ledger as it was is kept beside it. A mask that cannot be read stays so until it is drawn anew.

        Returns
        -------
        list of int
            The frames kept.

        Raises
        ------
        SessionError
            If it cannot be written.
        """

        def work(some: list[int]) -> list[int]:
            for t in some:
                entry, pixels = self._state(t)
                self._put_status(replace(entry, author=self.author))
                if pixels is None:
                    self._frames.doubt(t, UNREADABLE)
            return some

        def ledger() -> list[int]:
            if self._ledger.damage:
                self._ledger.mend()
            self._checker.ledger_problems = []
            return []

        found = list(self.damage)
        self._write(ledger)
        for start in range(0, len(found), AT_ONCE):
            self._write(partial(work, found[start : start + AT_ONCE]))
        return found

    def shown(self, t: int) -> NDArray[np.uint8]:
        """The mask ``(H, W)`` of a frame as it is shown: empty where it cannot be read."""
        return self._checker.pixels(self._checked(t))

    def vouched_frames(self) -> list[int]:
        """Frames that a person corrected or accepted and whose masks are not damaged: what models may learn from."""
        return [t for t in self._frames.persons_frames().tolist() if self._checker.sound(t)]

    def verify(self) -> list[int]:
        """Frames that are damaged; reads every mask."""
        return [one.frame for one in self.check() if one.problem]

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
        """A person vouches for this frame's mask as it is shown; models leave it alone from now on.

        A mask that cannot be read is shown empty, and accepted as that.

        Raises
        ------
        SessionError
            If there is nothing to accept yet, or it cannot be written.
        """
        t = self._checked(t)
        if self.status(t) == "empty" and not self.damaged(t):
            raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
        shown = self.shown(t)
        if self.problem(t) != UNREADABLE:
            self._accept([t], author)
            return

        def work() -> list[int]:
            self._keep(t, me)
            self._put(Entry(t, "accepted", author or self.author, PERSON, now()), shown)
            return [t]

        me = get_ident()
        with self.one_step():
            self._write(work)

    def accept_frames(self, frames: Iterable[int], author: str | None = None) -> list[int]:
        """A person vouches for the masks of several frames as they are, in one step.

        Returns
        -------
        list of int
            The frames that count as accepted now and did not before; those without a mask, and those known to be
            damaged, are passed over.

        Raises
        ------
        SessionError
            If it cannot be written; some of the frames may be accepted then, and one `undo` takes that back.
        """
        return self._accept([t for t in map(self._checked, frames) if t not in self._frames.damaged], author)

    def _accept(self, frames: list[int], author: str | None) -> list[int]:
        me, accepted = get_ident(), list[int]()

        def work(some: list[int]) -> list[int]:
            changing = ("proposed", "corrected")
            some = [t for t in some if self._frames.status(t) in changing or t in self._frames.damaged]
            for t in some:
                self._keep_status(t, me)
                entry = Entry(t, "accepted", author or self.author, PERSON, now(), mask=self._known(t).mask)
                self._put_status(entry)
            return some

        with self.one_step():
            for start in range(0, len(frames), AT_ONCE):
                accepted += self._write(partial(work, frames[start : start + AT_ONCE]))
        return accepted

    def clear(self, t: int, author: str | None = None) -> None:
        """A person gives this frame back: its mask is emptied and models may propose again; one that is empty stays."""
        t, me = self._checked(t), get_ident()
        if self.status(t) == "empty" and not self.damaged(t):
            return

        def work() -> list[int]:
            self._keep(t, me)
            nothing = np.zeros(self.shape[1:], np.uint8)
            self._put(Entry(t, "empty", author or self.author, PERSON, now()), nothing)
            return [t]

        with self.one_step():
            self._write(work)

    def revert(self, t: int) -> bool:
        """A person gives this frame the mask back that a model had proposed, and models may propose again.

        A damaged frame for which no proposal is kept becomes empty.

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
            if kept is None and t in self._frames.damaged:
                kept = Entry(t, "empty", self.author, PERSON, now()), np.zeros(self.shape[1:], np.uint8)
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
            How unsure the model is, in bits, and what of that comes from windows that disagree; see
            `vivim.inference.uncertainty`.

        Returns
        -------
        bool
            False if a person has corrected or accepted the frame, or it is in doubt: it is left exactly as it is.

        Raises
        ------
        SessionError, ValueError
            As for `correct`.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)

        def work() -> list[int]:
            if self._frames.status(t) in PERSONS:
                return []
            if self._checker.before_a_model_writes(t):
                uncertain_pixels.append(t)
                return []
            self._leave_steps(t)
            self._put(Entry(t, "proposed", model_version, MODEL, now(), uncertainty, windows=windows), pixels)
            self._checker.wrote(t)
            return [t]

        uncertain_pixels: list[int] = []
        written = bool(self._write(work))
        self._tell(uncertain_pixels)
        return written
