"""What a session knows of its frames, to be read by anybody: masks, statuses, uncertainty, the ledger."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.session.ledger import MODEL, PERSON, PERSONS, STATUS_CODES, STATUS_NAMES, Entry, Ledger, now
from vivim.session.mask_store import MaskStore

LEDGER, MASKS = "ledger.jsonl", "masks.zarr"


class Record:
    """The reading half of a session. Methods may be called from any thread."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder = folder
        self._shape = shape
        self._masks = MaskStore(folder / MASKS, shape)
        self._ledger = Ledger(folder / LEDGER)
        self._frames = FrameTable(shape[0])
        self._unsaid: set[int] = set()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width in pixels."""
        return self._shape

    @property
    def masks(self) -> MaskStore:
        """Masks ``(T, H, W)`` uint8 on disk, indexed like an array: 0 is background, 1 the first class.

        To be read only. A mask that cannot be read raises a `SessionError`; see `Session.damaged` and `Session.shown`.
        """
        return self._masks

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """What every frame counts as: ``(T,)`` codes, see `STATUS_CODES`."""
        return self._frames.codes.copy()

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """How unsure the model was of each frame, in bits, ``(T,)``; NaN where it proposed nothing."""
        return self._frames.uncertainty.copy()

    @property
    def disagreement(self) -> NDArray[np.float32]:
        """What of `uncertainty` comes from windows that disagree, ``(T,)``; NaN where older versions did not say."""
        return self._frames.disagreement.copy()

    def status(self, t: int) -> str:
        """``"empty"``, ``"proposed"``, ``"corrected"`` or ``"accepted"``."""
        return self._frames.status(self._checked(t))

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        codes = [STATUS_CODES[status] for status in statuses]
        return np.flatnonzero(np.isin(self._frames.codes, codes)).tolist()

    def entries(self) -> Iterator[Entry]:
        """The whole ledger, oldest first."""
        return iter(self._ledger)

    def _checked(self, t: int) -> int:
        if not 0 <= int(t) < len(self):
            raise IndexError(f"Frame {t} is not in a video of {len(self)} frames.")
        return int(t)


def digest(pixels: NDArray[np.uint8]) -> str:
    """What the ledger calls a mask: BLAKE2b of its pixels, 16 bytes, hexadecimal."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()


class FrameTable:
    """Status, uncertainty and the last word of the ledger on each frame.

    Attributes
    ----------
    codes : ndarray
        ``(T,)`` uint8, see `STATUS_CODES`.
    uncertainty : ndarray
        ``(T,)`` float32, what the model that proposed last said; NaN where there is nothing.
    disagreement : ndarray
        ``(T,)`` float32, what of it comes from windows that disagree; NaN also where that was not written down.
    damaged : dict of int to str
        Frames in doubt, each with what is wrong, see `vivim.session.damage_check`. They count as a person's.
    """

    def __init__(self, count: int) -> None:
        self.codes: NDArray[np.uint8] = np.zeros(count, np.uint8)
        self.uncertainty: NDArray[np.float32] = np.full(count, np.nan, np.float32)
        self.disagreement = self.uncertainty.copy()
        self.damaged: dict[int, str] = {}
        self._last: dict[int, Entry] = {}
        self._accepted: dict[int, Entry] = {}

    def replay(self, entries: Iterable[Entry]) -> None:
        """Apply a whole ledger.

        Raises
        ------
        SessionError
            If it speaks of a frame that does not exist.
        """
        for entry in entries:
            if not 0 <= entry.frame < len(self.codes):
                raise SessionError(
                    f"The ledger of this session speaks of frame {entry.frame}, which does not exist. Restore "
                    "session.json or ledger.jsonl from a backup."
                )
            self.apply(entry)

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

    def doubt(self, t: int, problem: str) -> None:
        """A frame is in doubt: it counts as a person's until a line of the ledger says something else."""
        self.damaged[t] = problem
        if self.status(t) not in PERSONS:
            self.codes[t] = STATUS_CODES["corrected"]

    def confidence(self, t: int) -> None:
        """A frame is no longer in doubt, and what the ledger says of it holds."""
        if self.damaged.pop(t, None) is not None:
            self.codes[t] = STATUS_CODES[self._last[t].status if t in self._last else "empty"]

    def persons_frames(self) -> NDArray[np.intp]:
        """Frames that are a person's, in order."""
        return np.flatnonzero(np.isin(self.codes, [STATUS_CODES[status] for status in PERSONS]))

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
