"""What the work on a session took, as far as its ledger says: frames, edits, and the time between edits.

An edit is a line of the ledger that a person wrote. While a frame is painted there is one at most every five seconds,
so that quick strokes count as one. The time of a frame is the time before each of its edits, since the edit before.
A longer break than the idle limit counts as nothing, and so does the time before the first edit. So the sum is less
than what the work took.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vivim.session.ledger import PERSON, seconds_of

if TYPE_CHECKING:
    from vivim.session import Session

IDLE_SECONDS = 120.0
"""Longer without an edit is a break."""


@dataclass
class FrameEffort:
    """Edits of a frame, and the seconds before them that count as work."""

    edits: int = 0
    seconds: float = 0.0


def effort(session: Session, idle_seconds: float = IDLE_SECONDS) -> dict[int, FrameEffort]:
    """The work on each frame that a person has edited, in order of the frames."""
    found: dict[int, FrameEffort] = {}
    before = None
    for entry in session.entries():
        if entry.kind != PERSON:
            continue
        of_frame, now = found.setdefault(entry.frame, FrameEffort()), seconds_of(entry.time)
        of_frame.edits += 1
        if before is not None and 0 <= now - before <= idle_seconds:
            of_frame.seconds += now - before
        before = now
    return dict(sorted(found.items()))
