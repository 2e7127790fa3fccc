"""A writer whose persons' work can be taken back: kept before it is changed, step by step."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import get_ident

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.session import frame_snapshots
from vivim.session.frame_snapshots import PROPOSALS, Proposals, State
from vivim.session.ledger import Entry, now, write_whole
from vivim.session.record import digest
from vivim.session.transactions import Writer


@dataclass
class _Open:
    """The step that a thread is at: what its frames were before, which it is to touch, whether others join it."""

    step: Step | None = None
    before: dict[int, Entry] = field(default_factory=dict)
    frames: frozenset[int] = frozenset()
    joining: bool = False


class Undoable(Writer):
    """A writer with steps to take back."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], author: str, read_only: bool) -> None:
        super().__init__(folder, shape, author, read_only)
        self._steps = UndoSteps(folder / UNDO, shape[1:], self._flusher.note_file)
        self._proposals = Proposals(folder / PROPOSALS, shape[1:], self._flusher.note_file)
        self._open: dict[int, _Open] = {}

    @contextmanager
    def one_step(self, frames: Iterable[int] | None = None) -> Iterator[None]:
        """All that the calling thread does to frames in a ``with`` block of this is one step for `undo`.

        Parameters
        ----------
        frames : iterable of int, optional
            For the parts of a stroke: a step on these frames that goes on after the block, until `end_step`, and
            with the next block on some of the same frames. Without, the step ends with the block.
        """
        opened = self._open.get(get_ident())
        if opened is not None and opened.joining:  # within another block
            yield
            return
        wanted = frozenset(frames or ())
        with self._lock:
            self._patience.settle()
            if frames is None or opened is None or not wanted <= opened.frames | opened.before.keys():
                opened = self._open[get_ident()] = _Open(frames=wanted)
        try:
            opened.joining = True
            yield
        finally:
            opened.joining = False
            if frames is None:
                self.end_step()

    def end_step(self) -> None:
        """What the calling thread does next is another step for `undo`, even if it is to the same frame."""
        with self._lock:
            self._open.pop(get_ident(), None)

    def undo(self) -> list[int]:
        """Take back what a person did last, in this run or an earlier, whichever frames it was done to.

        What is done to one frame until `end_step`, or until another frame is touched, is one step; accepting,
        clearing and reverting are steps of their own. The latest `STEPS_KEPT` steps are kept on disk.

        Returns
        -------
        list of int
            Frames whose mask or status is again what it was; empty if nothing is left to take back.

        Raises
        ------
        SessionError
            If it cannot be written.
        """
        return self._restore(UNDO, REDO)

    def redo(self) -> list[int]:
        """Take back the last `undo`, if nothing else was done since; returns and raises as that does."""
        return self._restore(REDO, UNDO)

    def undo_frames(self) -> list[int]:
        """The frames that the next `undo` would change."""
        return self._step_frames(UNDO)

    def redo_frames(self) -> list[int]:
        """The frames that the next `redo` would change."""
        return self._step_frames(REDO)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _keep(self, t: int, me: int) -> None:
        """Keep what a frame is before thread `me` changes its mask, once a step."""
        if self._is_kept(t, me):
            return
        entry, pixels = self._state(t)
        self._keep_proposal(entry, pixels)
        self._add_to_step(entry, pixels, me, readable=pixels is not None)

    def _keep_proposal(self, entry: Entry, pixels: NDArray[np.uint8] | None) -> None:
        """Keep what a frame shows for `revert`, if a model proposed it."""
        proposal = self._frames.proposal(entry.frame)
        if proposal is not None and pixels is not None and proposal.mask == entry.mask:
            self._proposals.keep(proposal, pixels)

    def _keep_status(self, t: int, me: int) -> None:
        """Keep what a frame counts as before thread `me` changes only that."""
        if not self._is_kept(t, me):
            self._add_to_step(self._known(t), None, me)

    def _is_kept(self, t: int, me: int) -> bool:
        opened = self._open.get(me)
        return (
            opened is not None and t in opened.before and (opened.step is None or opened.step in self._steps)
        )

    def _add_to_step(
        self, entry: Entry, pixels: NDArray[np.uint8] | None, me: int, readable: bool = True
    ) -> None:
        """Keep a state in the step that thread `me` is at, or in a new one; nothing of a mask that is damaged."""
        opened = self._open.get(me)
        if opened is None or not opened.joining:
            opened = self._open[me] = _Open()
        if readable:
            if opened.step is None or opened.step not in self._steps:
                self._steps.make_room()
                opened.step = self._steps.begin(UNDO)
            self._steps.add(opened.step, entry, pixels)
        self._leave_steps(entry.frame, but=me)
        opened.before[entry.frame] = entry

    def _leave_steps(self, t: int, but: int | None = None) -> None:
        """A frame is no longer what the steps that are under way, other than the one of thread `but`, left it."""
        for thread, opened in self._open.items():
            if thread != but:
                opened.before.pop(t, None)

    def _state(self, t: int) -> State:
        """What a frame counts as and its mask; None if that is damaged, which must not keep anybody from drawing."""
        entry = self._frames.state(t, self.author)
        try:
            pixels = self._masks[t]
        except SessionError:
            return entry, None
        return replace(entry, mask=digest(pixels)), pixels

    def _known(self, t: int) -> Entry:
        """What a frame counts as, with the digest of its mask; read from disk only if the ledger does not say it."""
        entry = self._frames.state(t, self.author)
        return self._state(t)[0] if entry.mask is None or t in self._unsaid else entry

    def _step_frames(self, side: str) -> list[int]:
        with self._lock:
            self._patience.settle()
            step = self._steps.latest(side)
            return self._steps.frames(step) if step is not None else []

    def _restore(self, source: str, other: str) -> list[int]:
        """Exchange the frames of the latest step that differ from what they are, and keep those for the way back."""
        restored: list[int] = []
        with self._lock:
            self._patience.settle()
            self.end_step()
            while not restored and (step := self._steps.latest(source)) is not None:
                restored = self._restore_step(step, other)
        return restored

    def _restore_step(self, step: Step, other: str) -> list[int]:
        restored: list[int] = []
        back, states = self._steps.begin(other), self._steps.states(step)
        try:
            while step in self._steps:
                restored += self._write(partial(self._exchange_next, states, step, back))
        finally:
            with suppress(ValueError):  # still at it on a disk that does not answer: closes with that
                states.close()
        return restored

    def _exchange_next(self, states: Iterator[State], step: Step, back: Step) -> list[int]:
        """Exchange one frame with its state in `step`; drop that once there is none left."""
        state = next(states, None)
        if state is None:
            self._steps.drop(step)
            return []
        kept, pixels = state
        if not 0 <= kept.frame < len(self):
            return []
        if pixels is None:
            return self._exchange_status(kept, back)
        entry, present = self._state(kept.frame)
        if present is not None:
            if (kept.status, kept.mask) == (entry.status, entry.mask):
                return []
            self._keep_proposal(entry, present)
            self._steps.add(back, entry, present)
        self._leave_steps(kept.frame)
        self._put(replace(kept, time=now()), pixels)
        return [kept.frame]

    def _exchange_status(self, kept: Entry, back: Step) -> list[int]:
        """Exchange what a frame counts as, if its mask is still the one that was said of."""
        entry = self._known(kept.frame)
        if kept.status == entry.status or kept.mask != entry.mask:
            return []
        self._steps.add(back, entry, None)
        self._put_status(replace(kept, time=now()))
        return [kept.frame]


_log = logging.getLogger(__name__)
STEPS_KEPT = 200
UNDO, REDO = "undo", "redo"
_NAME = re.compile(r"(\d{1,12})\.(undo|redo)")


@dataclass(frozen=True)
class Step:
    """A step to take back, or to do again: its number, and which of the two."""

    number: int
    side: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.number:08d}.{self.side}"


class UndoSteps:
    """The steps of a session, the oldest first.

    Parameters
    ----------
    folder : Path
        Where they are kept; made when the first is.
    shape : tuple of int
        Height and width of a mask.
    changed : callable
        Gets every file that was written or removed.
    """

    def __init__(self, folder: Path, shape: tuple[int, int], changed: Callable[[Path], None]) -> None:
        self._folder, self._shape, self._changed = folder, shape, changed
        self._steps: list[Step] = []
        self._taken = 0

    def load(self) -> None:
        """Look what is there. A step that a power cut left empty is none; the log is told of one that is no file."""
        self._steps, self._taken = [], 0
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            self._taken = max(self._taken, int(match[1]))
            if not path.is_file():
                _log.warning("%s is no file, and is no step to take back. Delete it.", path)
            elif frame_snapshots.entries(path, 1):
                self._steps.append(Step(int(match[1]), match[2]))
        self._steps.sort(key=lambda step: step.number)

    def __contains__(self, step: Step) -> bool:
        return step in self._steps

    def begin(self, side: str) -> Step:
        """The next step; it is there once a state is added to it."""
        self._taken = max(self._taken, *(step.number for step in self._steps[-1:]), 0)
        return Step(self._taken + 1, side)

    def add(self, step: Step, entry: Entry, pixels: NDArray[np.uint8] | None) -> None:
        """Keep a frame's state as part of a step.

        Parameters
        ----------
        step : Step
            The latest one, or one that holds something already.
        entry : Entry
            What the frame counts as, with the digest of its pixels.
        pixels : ndarray or None
            Its mask ``(H, W)``; None if the step leaves that alone.

        Raises
        ------
        OSError
            If it cannot be written; the step is as it was then.
        """
        self._folder.mkdir(exist_ok=True)
        with (self._folder / step.name).open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                write_whole(file, frame_snapshots.pack(entry, pixels))
            except OSError:
                file.truncate(size)
                raise
        self._changed(self._folder / step.name)
        if step not in self._steps:
            self._steps.append(step)

    def latest(self, side: str) -> Step | None:
        """The step to take back next, or to do again."""
        return next((step for step in reversed(self._steps) if step.side == side), None)

    def frames(self, step: Step) -> list[int]:
        """The frames that a step changed."""
        return list(dict.fromkeys(entry.frame for entry in frame_snapshots.entries(self._folder / step.name)))

    def latest_of_each(self) -> dict[int, Entry]:
        """Of each frame what it was before the latest step to take back that changed it."""
        found: dict[int, Entry] = {}
        for step in self._steps:
            if step.side == UNDO:
                with suppress(OSError):  # no file: it has nothing to say, and nothing is lost with it
                    first = {
                        entry.frame: entry
                        for entry in reversed(frame_snapshots.entries(self._folder / step.name))
                    }
                    found.update(first)
        return found

    def states(self, step: Step) -> Generator[frame_snapshots.State, None, None]:
        """What the frames of a step were before it, each once."""
        seen: set[int] = set()
        for entry, pixels in frame_snapshots.states(self._folder / step.name, self._shape):
            if entry.frame not in seen:
                seen.add(entry.frame)
                yield entry, pixels

    def drop(self, step: Step) -> None:
        """Forget a step."""
        (self._folder / step.name).unlink(missing_ok=True)
        self._changed(self._folder / step.name)
        self._steps.remove(step)

    def make_room(self) -> None:
        """Forget what could be done again, and the oldest of more than `STEPS_KEPT` steps: a new one begins."""
        undo = [step for step in self._steps if step.side == UNDO]
        for step in [step for step in self._steps if step.side == REDO] + undo[: 1 - STEPS_KEPT or None]:
            self.drop(step)
