"""How far a reader's work is: who said so, what may follow, and what a lock holds back."""

from __future__ import annotations

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session.ledger import digest
from vivim.session.review import NEXT_STATES


def through(session: Session, *states: str) -> None:
    for state in states:
        session.set_state(state, by="senior")


def test_work_goes_from_draft_to_locked_and_who_said_so_is_kept(session: Session) -> None:
    assert session.state == "draft" and session.states == ()
    session.set_state("submitted")
    through(session, "in review", "approved", "locked")
    session.close()
    with Session.open(session.folder, read_only=True) as again:
        assert again.state == "locked"
        assert [(one.name, one.author) for one in again.states] == [
            ("submitted", "tester"),
            ("in review", "senior"),
            ("approved", "senior"),
            ("locked", "senior"),
        ]
        assert all(len(one.time) == 20 for one in again.states)


@pytest.mark.parametrize("start", NEXT_STATES)
def test_only_what_follows_is_allowed(session: Session, start: str) -> None:
    path = {"draft": [], "submitted": ["submitted"]}
    path["in review"], path["approved"] = ["submitted", "in review"], ["submitted", "approved"]
    path["locked"] = [*path["approved"], "locked"]
    through(session, *path[start])
    for state in (*NEXT_STATES, "gone"):
        if state not in NEXT_STATES[start]:
            with pytest.raises(SessionError, match=f"is {start} cannot become '{state}'. It can become"):
                session.set_state(state, reason="why not")
    if start != "draft":
        with pytest.raises(SessionError, match="for a reason"):
            session.set_state("draft", reason="  ")
        session.set_state("draft", reason="Frame 3 was missed.")
        assert session.states[-1].text == "Frame 3 was missed."
    assert session.state == "draft"


def test_a_locked_session_takes_comments_alone(session: Session) -> None:
    session.correct(1, np.ones(session.shape[1:], np.uint8))
    through(session, "submitted", "approved", "locked")
    for _ in range(2):
        assert session.read_only
        for write in (
            lambda s: s.correct(2, np.ones(s.shape[1:], np.uint8)),
            lambda s: s.propose(2, np.ones(s.shape[1:], np.uint8), "v1"),
            lambda s: s.clear(1),
            lambda s: s.accept(1),
            lambda s: s.undo(),
            lambda s: s.tag(1, "ignore"),
            lambda s: s.set_attribute(1, "Paris", "Is"),
            lambda s: s.name_classes(["polyp"]),
            lambda s: s.set_area((0, 0, 32, 32)),
        ):
            with pytest.raises(SessionError, match="locked by senior"):
                write(session)
        session.comment("Looked at once more.", 1)
        session.close()
        session = Session.open(session.folder, author="tester")
    assert len(session.comments) == 2 and session.frames_with("corrected") == [1]
    assert session.classes == ("lesion",) and session.area is None
    session.set_state("draft", reason="The margin.")
    session.correct(2, np.ones(session.shape[1:], np.uint8))
    assert not session.read_only and session.verify() == []
    session.close()


def test_a_session_that_is_only_looked_at_has_no_state_to_write(sample) -> None:
    with Session.open(sample.video, reader="a", lazy=True) as session:
        assert session.state == "draft" and session.comments == () and not session.folder.exists()
        session.comment("First words.")
        assert session.folder.exists() and len(session.comments) == 1
    with Session.open(sample.video, reader="a") as again:
        assert [comment.author for comment in again.comments] == ["a"]


def test_the_ledger_tells_edits_before_a_state_from_those_after(session: Session) -> None:
    for value in (1, 2):  # the second is a part of the same stroke, for which there is no line yet
        session.correct(3, np.full(session.shape[1:], value, np.uint8))
    session.set_state("submitted")
    before = list(session.entries())
    assert before[-1].mask == digest(session.masks[3])
    session.correct(3, np.full(session.shape[1:], 3, np.uint8))
    after = list(session.entries())[len(before) :]
    assert [(entry.frame, entry.mask) for entry in after] == [(3, digest(session.masks[3]))]
    session.close()
    with Session.open(session.folder, read_only=True) as again:
        assert len(list(again.entries())) == len(before) + 1
