"""What persons did, to be taken back and done again: kept before it is changed, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import get_ident

import numpy as np
from numpy.typing import NDArray

from vivim.session.edit_gate import EditGate
from vivim.session.frame_snapshots import PROPOSALS, UNDO, Proposals, State, UndoSteps
from vivim.session.ledger import Entry, now


@dataclass
class _OpenStep:
    """The step that a thread is at: what its frames were before, which it is to touch, whether others join it."""

    step: str | None = None
    before: dict[int, Entry] = field(default_factory=dict)
    frames: frozenset[int] = frozenset()
    joining: bool = False


class History:
    """The steps of one session. Each thread has a step of its own under way.

    Methods that take ``me`` are part of a step that is run: `me` is the thread that asked for it, and an `OSError`
    says what the disk could not take.
    """

    def __init__(self, gate: EditGate) -> None:
        size, changed = gate.masks.shape[1:], gate.flusher.note_file
        self.steps = UndoSteps(gate.folder / UNDO, size, changed)
        self._proposals = Proposals(gate.folder / PROPOSALS, size, changed)
        self._gate, self._frames = gate, gate.frames
        self._open: dict[int, _OpenStep] = {}

    @contextmanager
    def one_step(self, frames: Iterable[int] | None = None) -> Iterator[None]:
        """Make one step of all that the calling thread does in a ``with`` block, see `Session.one_step`."""
        opened = self._open.get(get_ident())
        if opened is not None and opened.joining:  # within another block
            yield
            return
        wanted = frozenset(frames or ())
        with self._gate.lock:
            self._gate.queue.finish_interrupted()
            if frames is None or opened is None or not wanted <= opened.frames | opened.before.keys():
                opened = self._open[get_ident()] = _OpenStep(frames=wanted)
        try:
            opened.joining = True
            yield
        finally:
            opened.joining = False
            if frames is None:
                self.end_step()

    def end_step(self) -> None:
        """End the step that the calling thread is at."""
        with self._gate.lock:
            self._open.pop(get_ident(), None)

    def before(self, t: int) -> Entry | None:
        """What a frame was before the step that the calling thread is at. None if that has not changed it."""
        opened = self._open.get(get_ident())
        return opened.before.get(t) if opened is not None else None

    def next_frames(self, side: str) -> list[int]:
        """The frames that the next step of one side, `UNDO` or `REDO`, would change."""
        with self._gate.lock:
            self._gate.queue.finish_interrupted()
            step = self.steps.latest(side)
            return self.steps.frames(step) if step is not None else []

    def restore(self, source: str, other: str) -> list[int]:
        """Exchange the frames of the latest step that differ from what they are, and keep those for the way back."""
        restored: list[int] = []
        with self._gate.lock:
            self._gate.queue.finish_interrupted()
            self.end_step()
            while not restored and (step := self.steps.latest(source)) is not None:
                back, states = self.steps.begin(other), self.steps.states(step)
                try:
                    while step in self.steps:
                        restored += self._gate.run(partial(self._exchange_next, states, step, back))
                finally:
                    with suppress(ValueError):  # still at it on a disk that does not answer: closes with that
                        states.close()
        return restored

    def is_one_step(self, me: int) -> bool:
        """Whether all that a thread does just now is one step."""
        opened = self._open.get(me)
        return opened is not None and opened.joining

    def keep(self, t: int, me: int, with_mask: bool = True) -> None:
        """Keep what a frame is before it changes, once a step. Its mask is left out where only its status changes."""
        opened = self._open.get(me)
        if opened is not None and t in opened.before and (opened.step is None or opened.step in self.steps):
            return
        entry, pixels = self._gate.state(t) if with_mask else (self._gate.entry(t), None)
        if (shown := self._shown_proposal(entry, pixels)) is not None:
            self._proposals.keep(*shown)
        if opened is None or not opened.joining:
            opened = self._open[me] = _OpenStep()
        if pixels is not None or not with_mask:  # nothing of a mask that is damaged
            if opened.step is None or opened.step not in self.steps:
                self.steps.make_room()
                opened.step = self.steps.begin(UNDO)
            self.steps.add(opened.step, entry, pixels)
        self.leave_steps(t, but=me)
        opened.before[t] = entry

    def leave_steps(self, t: int, but: int | None = None) -> None:
        """A frame is no longer what the steps that are under way, other than the one of thread `but`, left it."""
        for thread, opened in self._open.items():
            if thread != but:
                opened.before.pop(t, None)

    def proposal(self, entry: Entry, pixels: NDArray[np.uint8] | None) -> State | None:
        """What a model proposed last for a frame in this state. None if nothing, or it is damaged."""
        return self._shown_proposal(entry, pixels) or self._proposals.of(entry.frame)

    def _shown_proposal(
        self, entry: Entry, pixels: NDArray[np.uint8] | None
    ) -> tuple[Entry, NDArray[np.uint8]] | None:
        """What a frame in this state shows, if a model proposed it."""
        proposal = self._frames.proposal(entry.frame)
        if proposal is None or pixels is None or proposal.mask != entry.mask:
            return None
        return proposal, pixels

    def _exchange_next(self, states: Iterator[State], step: str, back: str) -> list[int]:
        """Exchange one frame with its state in `step`, and drop that once there is none left."""
        state = next(states, None)
        if state is None:
            self.steps.drop(step)
            return []
        kept, pixels = state
        if not 0 <= kept.frame < len(self._frames):
            return []
        if pixels is None:
            return self._exchange_status(kept, back)
        entry, present = self._gate.state(kept.frame)
        if present is not None:
            if (kept.status, kept.mask) == (entry.status, entry.mask):
                return []
            if (shown := self._shown_proposal(entry, present)) is not None:
                self._proposals.keep(*shown)
            self.steps.add(back, entry, present)
        self.leave_steps(kept.frame)
        self._gate.put(replace(kept, time=now()), pixels)
        return [kept.frame]

    def _exchange_status(self, kept: Entry, back: str) -> list[int]:
        """Exchange what a frame counts as, if its mask is still the one that was said of."""
        entry = self._gate.entry(kept.frame)
        if kept.status == entry.status or kept.mask != entry.mask:
            return []
        self.steps.add(back, entry, None)
        self._gate.put_status(replace(kept, time=now()))
        return [kept.frame]
