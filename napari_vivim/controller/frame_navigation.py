"""Lead a person from one frame worth correcting to the next, and back."""

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
