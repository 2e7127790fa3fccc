"""Lead a person from one frame worth correcting to the next, and back."""

from collections.abc import Iterable

from vivim.analysis.active_learning import Suggestion, suggest_frames
from vivim.session import Session
from vivim.session.ledger import PERSONS


class FrameNavigation:
    """Goes from one frame worth correcting to the next, and passes over those left as they were."""

    def __init__(self) -> None:
        self._trail: list[Suggestion] = []
        self._at = -1

    def on(self, session: Session) -> Suggestion | None:
        """The next frame, or None once a person has dealt with all of them.

        Where `back` was used, first the frames that were shown before, as far as they are still to be dealt with. A
        person who has seen all that is left without dealing with it begins anew.
        """
        for place in range(self._at + 1, len(self._trail)):
            if session.status(self._trail[place].frame) not in PERSONS:
                self._at = place
                return self._trail[place]
        seen = [one.frame for one in self._trail]
        found = suggest_frames(session, 1, skip=seen) or suggest_frames(session, 1)
        if not found:
            return None
        self._trail.append(found[0])
        self._at = len(self._trail) - 1
        return found[0]

    def back(self) -> Suggestion | None:
        """The frame shown before, or None at the first."""
        if self._at <= 0:
            return None
        self._at -= 1
        return self._trail[self._at]


def frames_around(frame: int, total: int, done: Iterable[int], before: int, after: int) -> list[int]:
    """Frames next to one, no farther than the nearest that a person has dealt with on each side.

    Parameters
    ----------
    frame : int
        The one in the middle, which is left out.
    total : int
        Frames of the video.
    done : iterable of int
        Corrected and accepted frames.
    before, after : int
        How many frames at most on each side.
    """
    others = [t for t in done if t != frame]
    first = max((t + 1 for t in others if t < frame), default=0)
    last = min((t - 1 for t in others if t > frame), default=total - 1)
    return [*range(max(first, frame - before), frame), *range(frame + 1, min(last, frame + after) + 1)]
