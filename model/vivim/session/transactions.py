"""How a session writes: ledger and mask in an order that survives a crash, one step at a time, then the listeners.

A crash at any moment leaves nothing a person drew looking like a model's: what makes a frame a person's is said in
the ledger before its mask is written; anything else after. What a power cut leaves is up to `vivim.session.flusher`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.flusher import Flusher
from vivim.session.ledger import PERSON, PERSONS, Entry
from vivim.session.record import Record, digest
from vivim.session.write_queue import Patience

RESTATE_SECONDS = 5.0
"""While a frame is being painted its ledger line is repeated at most this often."""


class Writer(Record):
    """A record that can be written to, by whoever holds its lock."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], author: str, read_only: bool) -> None:
        super().__init__(folder, shape)
        self.author, self.read_only = author, read_only
        self._listeners: list[Callable[[int, str], None]] = []
        self._said: dict[int, float] = {}
        self._patience = Patience()
        self._flusher = Flusher(self._ledger, self._masks)
        self._store = self._masks

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

    def _write(self, work: Callable[[], list[int]]) -> list[int]:
        """Try `work`, one step, and tell the listeners of the frames that it says it changed; returns these."""
        untold: list[int] = []
        try:
            with self._lock:
                self._patience.settle()
                if self.read_only:
                    raise SessionError(
                        "This session is closed or open for reading only. Open it again to go on."
                    )

                def step() -> list[int]:
                    self._begin()
                    self._ledger.check_in_place()
                    self._flusher.wait_for_room()
                    changed = work()
                    untold.extend(changed)
                    return changed

                changed = self._patience(step, lambda changed: self._tell(untold))
        except OSError as error:
            raise self._not_written(error) from error
        finally:  # a caller who is interrupted has mostly written, and may be interrupted while he tells
            try:
                self._tell(untold)
            finally:
                self._tell(untold)
        return changed

    def _begin(self) -> None:
        """Make ready what is made only when it is first written to."""

    def flush(self) -> None:
        """Wait until the disk has everything that was written; it is told to take it every 0.2 s anyway.

        Raises
        ------
        SessionError
            If it cannot take it.
        """
        try:
            self._flusher.flush()
        except OSError as error:
            raise self._not_written(error) from error

    def _put(self, entry: Entry, pixels: NDArray[np.uint8] | None) -> None:
        """Record and store: what makes a frame a person's goes before its pixels, anything else after them."""
        t = entry.frame
        if entry.status in PERSONS:
            self._put_persons(entry, pixels)
            return
        assert pixels is not None
        self._masks[t] = pixels
        try:
            self._record(entry, pixels)
        except OSError:
            self._store.withdraw(t)
            raise
        self._flusher.note_mask(t)

    def _put_persons(self, entry: Entry, pixels: NDArray[np.uint8] | None) -> None:
        t = entry.frame
        before = self._frames.state(t, self.author)
        was_unsaid = t in self._unsaid
        before = replace(before, mask=None) if was_unsaid else before
        said = self._record(entry, self._masks[t] if pixels is None else pixels)
        if pixels is None:
            return
        try:
            self._masks[t] = pixels
            if not said:
                self._store.left_unsaid(t)
        except OSError:
            if said:
                self._unsaid.add(t)  # until the line of what it is, which follows if the disk takes it
                self._append(before)
                if not was_unsaid:
                    self._unsaid.discard(t)
            raise
        self._flusher.note_mask(t, said)

    def _put_status(self, entry: Entry) -> None:
        """Record that a frame counts as something else from now on; its mask stays."""
        self._say_unsaid()
        self._append(entry)

    def _record(self, entry: Entry, pixels: NDArray[np.uint8]) -> bool:
        """Append to the ledger, unless it would say again what was said for this frame a moment ago.

        What is left unsaid is the digest of the mask; it is said before another frame's line, or on closing.
        """
        t, last = entry.frame, self._frames.last(entry.frame)
        same = last is not None and (last.status, last.author, last.kind) == (
            entry.status,
            entry.author,
            entry.kind,
        )
        same = same and t not in self._frames.damaged
        if same and entry.kind == PERSON and time.monotonic() - self._said.get(t, -np.inf) < RESTATE_SECONDS:
            self._unsaid.add(t)
            return False
        self._say_unsaid(but=t)
        self._append(replace(entry, mask=digest(pixels)))
        self._unsaid.discard(t)
        return True

    def _say_unsaid(self, but: int | None = None) -> None:
        """Append what the latest masks are of frames whose lines were left out."""
        for t in tuple(self._unsaid - {but}):
            self._append(replace(self._frames.state(t, self.author), mask=digest(self._masks[t])))
            self._unsaid.discard(t)
            self._flusher.note_mask(t)

    def _append(self, entry: Entry) -> None:
        self._ledger.append(entry)
        self._flusher.note_line()
        self._said[entry.frame] = time.monotonic()
        self._frames.apply(entry)

    def _tell(self, untold: list[int]) -> None:
        """Tell the listeners of changed frames; those that they have been told of are taken off the list."""
        while untold:
            t = untold[0]
            status = self._frames.status(t)
            for listener in tuple(self._listeners):
                listener(t, status)
            del untold[:1]

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
