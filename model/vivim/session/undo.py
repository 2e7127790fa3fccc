"""What persons overwrote in the frames they edited last, kept on disk so that it can be taken back after a restart.

A file a step: the ledger's line of what the frame was, then its pixels, packed. The oldest go when there are too many.
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.session.ledger import LINE_BYTES, Entry, from_line, to_line
from vivim.session.record import digest

STEPS_KEPT = 20
UNDO, REDO = "undo", "redo"
_NAME = re.compile(r"(\d{1,12})-(\d{1,12})\.(undo|redo)")


@dataclass(frozen=True)
class Step:
    """One kept state of a frame: what number it has, which frame's it is, and whether to undo or to redo to it."""

    number: int
    frame: int
    side: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.number:08d}-{self.frame}.{self.side}"


class UndoSteps:
    """The kept states of a session's frames.

    Parameters
    ----------
    folder : Path
        Where they are kept; made when the first is.
    shape : tuple of int
        Height and width of a mask.
    """

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self._folder, self._shape = folder, shape
        self._steps: list[Step] = []

    def load(self) -> None:
        """Look what is there."""
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        parts = [match for path in found if (match := _NAME.fullmatch(path.name))]
        steps = [Step(int(match[1]), int(match[2]), match[3]) for match in parts]
        self._steps = sorted(steps, key=lambda step: step.number)

    def keep(
        self, entry: Entry, pixels: NDArray[np.uint8], side: str = UNDO, instead_of: Step | None = None
    ) -> None:
        """Keep a frame's state; `entry` carries the digest of its pixels.

        Parameters
        ----------
        instead_of : Step, optional
            One that the caller drops next, and for which no other has to go.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        number = self._steps[-1].number + 1 if self._steps else 1
        step = Step(number, entry.frame, side)
        self._folder.mkdir(exist_ok=True)
        part = self._folder / f".{step.name}.part"
        try:
            part.write_bytes(to_line(entry) + zlib.compress(np.ascontiguousarray(pixels).data, 1))
            os.replace(part, self._folder / step.name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._steps.append(step)
        for oldest in [step for step in self._steps if step != instead_of][:-STEPS_KEPT]:
            self.drop(oldest)

    def of(self, t: int, side: str) -> list[Step]:
        """Kept states of a frame, the latest first."""
        return [step for step in reversed(self._steps) if step.frame == t and step.side == side]

    def read(self, step: Step) -> tuple[Entry, NDArray[np.uint8]] | None:
        """A kept state, None if it is damaged."""
        count = self._shape[0] * self._shape[1]
        try:
            with (self._folder / step.name).open("rb") as file:
                entry = from_line(file.readline(LINE_BYTES))
                unpacker = zlib.decompressobj()
                raw = unpacker.decompress(file.read(2 * count + LINE_BYTES), count)
        except (OSError, ValueError, TypeError, RecursionError, OverflowError, zlib.error):
            return None
        if len(raw) != count or entry.frame != step.frame:
            return None
        pixels = np.frombuffer(raw, np.uint8).reshape(self._shape)
        return (entry, pixels) if digest(pixels) == entry.mask else None

    def drop(self, step: Step) -> None:
        """Forget a state."""
        (self._folder / step.name).unlink(missing_ok=True)
        self._steps.remove(step)
