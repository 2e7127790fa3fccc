"""What a session knows of its frames, to be read by anybody: masks, statuses, uncertainty, the ledger."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.session.frames import FrameTable
from vivim.session.ledger import STATUS_CODES, Entry, Ledger
from vivim.session.store import MaskStore

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
