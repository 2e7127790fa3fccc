"""Events of a fine-tune, which can be written as lines of JSON, and its result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vivim.utils.json_types import fits_fields

if TYPE_CHECKING:
    from vivim.network import Vivim


@dataclass(frozen=True)
class Preparing:
    """Progress of encoding corrected frames: `done` of `total`."""

    kind: ClassVar[str] = "preparing"
    done: int
    total: int


@dataclass(frozen=True)
class Waiting:
    """The work waits for another machine or a place in its queue, which `note` says in words."""

    kind: ClassVar[str] = "waiting"
    note: str


@dataclass(frozen=True)
class PassedOver:
    """Frames left out because their masks are damaged, as pairs of session number and frame."""

    kind: ClassVar[str] = "passed-over"
    frames: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Step:
    """One optimiser step.

    `fold` counts the held-out rounds from 1, and is 0 for the final round. `rounds` is the number of rounds, the final
    one included, or 0 where that is not known.
    """

    kind: ClassVar[str] = "step"
    step: int
    total: int
    loss: float
    fold: int
    rounds: int = 0

    @property
    def steps_left(self) -> int:
        """Steps after this one in all rounds, or fewer where the last round is shorter than the others."""
        rounds = max(1, self.rounds)
        return self.total - self.step + (rounds - (self.fold or rounds)) * self.total


@dataclass(frozen=True)
class HeldOut:
    """Mean Dice so far on the frames left out of round `fold`, after `step` of `total` steps."""

    kind: ClassVar[str] = "heldout"
    step: int
    total: int
    dice: float
    fold: int


@dataclass(frozen=True)
class Scored:
    """Mean Dice on held-out corrected frames before and after the fine-tune.

    `per_frame` holds (session number, frame, before, after). A single corrected frame cannot be held out, so that the
    scores are None and `per_frame` is empty.
    """

    kind: ClassVar[str] = "scored"
    before: float | None
    after: float | None
    frames: int
    per_frame: tuple[tuple[int, int, float, float], ...]


@dataclass(frozen=True)
class Finished:
    """A new version exists, `promoted` if it is clearly better on held-out frames than its parent."""

    kind: ClassVar[str] = "finished"
    name: str
    version: str
    path: str
    promoted: bool
    before: float | None
    after: float | None
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A new model, and whether it is clearly better on held-out frames than its parent."""

    model: Vivim
    promoted: bool


FinetuneEvent = PassedOver | Waiting | Preparing | Step | HeldOut | Scored | Finished

_KINDS: dict[str, type] = {
    cls.kind: cls for cls in (PassedOver, Waiting, Preparing, Step, HeldOut, Scored, Finished)
}


def to_line(event: FinetuneEvent) -> str:
    """Write an event as one line of JSON."""
    return json.dumps({"kind": event.kind, **asdict(event)})


def from_line(line: str) -> FinetuneEvent:
    """Read the event that `to_line` wrote. Raises `ValueError` if the line is not an event."""
    values: dict[str, Any] = json.loads(line)
    kind = values.pop("kind", None)
    if kind not in _KINDS or not fits_fields(values, _KINDS[kind]):
        raise ValueError(f"Not an event: {line[:80]!r}")
    lists = {name: tuple(map(tuple, value)) for name, value in values.items() if isinstance(value, list)}
    return _KINDS[kind](**{**values, **lists})
