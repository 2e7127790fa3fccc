"""What every frame of a session counts as now, by its last line in the ledger."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vivim.session.ledger import MODEL, PERSON, PERSONS, STATUS_CODES, STATUS_NAMES, Entry, now


class FrameTable:
    """Status, uncertainty and the last line of the ledger of each frame.

    Attributes
    ----------
    codes : ndarray
        ``(T,)`` uint8, see `STATUS_CODES`.
    uncertainty : ndarray
        ``(T,)`` float32, what the model that proposed last said; NaN where there is nothing.
    disagreement : ndarray
        ``(T,)`` float32, what of it comes from windows that disagree; NaN also where that was not written down.
    damaged : dict of int to str
        What is wrong with frames, see `vivim.session.damage_check`. Such frames count as a person's.
    """

    def __init__(self, count: int) -> None:
        self.codes: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.uncertainty: NDArray[np.float32] = np.full(count, np.nan, np.float32)
        self.disagreement = self.uncertainty.copy()
        self.damaged: dict[int, str] = {}
        self._last: dict[int, Entry] = {}
        self._accepted: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def apply(self, entry: Entry) -> None:
        """Take a line of the ledger for true from now on."""
        t, last = entry.frame, self._last.get(entry.frame)
        if entry.status != "accepted":
            self._accepted.pop(t, None)
        elif last is not None and last.status == "proposed":
            self._accepted[t] = last
        self.codes[t] = STATUS_CODES[entry.status]
        if entry.status == "empty":
            self.uncertainty[t] = self.disagreement[t] = np.nan
        elif entry.kind == MODEL:
            self.uncertainty[t] = np.nan if entry.uncertainty is None else entry.uncertainty
            self.disagreement[t] = np.nan if entry.windows is None else entry.windows
        self._last[t] = entry
        self.damaged.pop(t, None)

    def mark_damaged(self, t: int, problem: str) -> None:
        """Count a frame as a person's until a line of the ledger says something else."""
        self.damaged[t] = problem
        if self.status(t) not in PERSONS:
            self.codes[t] = STATUS_CODES["corrected"]

    def mark_whole(self, t: int) -> None:
        """Count a frame that was damaged as what the ledger says."""
        if self.damaged.pop(t, None) is not None:
            self.codes[t] = STATUS_CODES[self._last[t].status if t in self._last else "empty"]

    def persons_frames(self) -> list[int]:
        """Frames that are a person's, in order."""
        return self.frames_with(*PERSONS)

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        codes = [STATUS_CODES[status] for status in statuses]
        return np.flatnonzero(np.isin(self.codes, codes)).tolist()

    def status(self, t: int) -> str:
        """One of `STATUS_NAMES`."""
        return STATUS_NAMES[self.codes[t]]

    def last(self, t: int) -> Entry | None:
        """The last line about a frame, None if there is none."""
        return self._last.get(t)

    def proposal(self, t: int) -> Entry | None:
        """The line by which a model proposed what a frame shows now, accepted or not; None if it shows none."""
        return self._last[t] if self.status(t) == "proposed" else self._accepted.get(t)

    def state(self, t: int, author: str) -> Entry:
        """A line that says of a frame, now, what it counts as already; `author` speaks where nobody has."""
        if t in self.damaged:
            return Entry(t, self.status(t), author, PERSON, now())
        last = self._last.get(t) or Entry(t, "empty", author, PERSON, "")
        return replace(last, time=now())
