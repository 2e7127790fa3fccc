"""``closed.json``: how a session was when it was last closed, to be compared with how it is found.

A ledger that has lost its end looks whole. What was known before says that something is missing, and whose the frames
were.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vivim.utils.atomic_files import atomic_write

CLOSED = "closed.json"
FILE_BYTES = 2**26
"""A larger ``closed.json`` is none of ours."""


@dataclass(frozen=True)
class LastClose:
    """The contents of ``closed.json``.

    Attributes
    ----------
    ledger_bytes : int
        Length of the ledger.
    persons : tuple
        Frames that were a person's, as ranges: first and last frame of each.
    damaged : dict
        Frames that were known to be damaged, each with what is wrong.
    checked : bool
        False if a comparison of ledger and masks was due and not done to the end.
    """

    ledger_bytes: int
    persons: tuple[tuple[int, int], ...]
    damaged: dict[int, str]
    checked: bool

    def write(self, folder: Path) -> None:
        """Write atomically; raises an `OSError` if it cannot be written."""
        with atomic_write(folder / CLOSED) as part:
            part.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, frames: int) -> LastClose | None:
        """What is there of a session of so many frames; None if there is nothing, or it cannot be used."""
        path = folder / CLOSED
        try:
            if path.stat().st_size > FILE_BYTES:
                return None
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                int(values["ledger_bytes"]),
                tuple((_frame(first, frames), _frame(last, frames)) for first, last in values["persons"]),
                {_frame(t, frames): str(why) for t, why in values["damaged"].items()},
                values["checked"] is True,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None  # an older session, or damaged: nothing is known then

    def persons_frames(self) -> list[int]:
        """The frames that were a person's, in order."""
        return [t for first, last in self.persons for t in range(first, last + 1)]


def ranges(frames: list[int]) -> tuple[tuple[int, int], ...]:
    """Frames in rising order as ranges: first and last of each."""
    found: list[tuple[int, int]] = []
    for t in frames:
        if found and found[-1][1] == t - 1:
            found[-1] = (found[-1][0], t)
        else:
            found.append((t, t))
    return tuple(found)


def _frame(value: Any, frames: int) -> int:
    t = int(value)
    if not 0 <= t < frames:
        raise ValueError("no such frame")
    return t
