"""What persons changed last, step by step, kept on disk so that it can be taken back after a restart.

A file a step: the states that the frames it changed had before. Steps are numbered in the order they were made. The
oldest go when there are too many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivim.session import kept
from vivim.session.ledger import Entry, write_whole

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

    def load(self) -> None:
        """Look what is there; a step that a power cut left empty is none."""
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        parts = [match for path in found if (match := _NAME.fullmatch(path.name)) and kept.entries(path, 1)]
        self._steps = sorted((Step(int(match[1]), match[2]) for match in parts), key=lambda step: step.number)

    def __contains__(self, step: Step) -> bool:
        return step in self._steps

    def begin(self, side: str) -> Step:
        """The next step; it is there once a state is added to it."""
        return Step(self._steps[-1].number + 1 if self._steps else 1, side)

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
                write_whole(file, kept.pack(entry, pixels))
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
        return list(dict.fromkeys(entry.frame for entry in kept.entries(self._folder / step.name)))

    def latest_of_each(self) -> dict[int, Entry]:
        """Of each frame what it was before the latest step to take back that changed it."""
        found: dict[int, Entry] = {}
        for step in self._steps:
            if step.side == UNDO:
                with suppress(OSError):  # no file: it has nothing to say, and nothing is lost with it
                    first = {entry.frame: entry for entry in reversed(kept.entries(self._folder / step.name))}
                    found.update(first)
        return found

    def states(self, step: Step) -> Generator[kept.State, None, None]:
        """What the frames of a step were before it, each once."""
        seen: set[int] = set()
        for entry, pixels in kept.states(self._folder / step.name, self._shape):
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
