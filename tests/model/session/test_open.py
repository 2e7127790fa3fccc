"""Opening: looking leaves no trace, and a video is never mistaken for another."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError


def ones(session: Session) -> np.ndarray:
    return np.ones(session.shape[1:], np.uint8)


def test_looking_makes_no_folder(sample) -> None:
    with Session.open(sample.video, lazy=True) as session:
        masks, editor = session.masks, session.editable()
        assert session.masks.shape == session.shape and not masks[3].any() and not np.asarray(masks).any()
        assert not editor[2:4].any() and session.status(0) == "empty" and list(session.entries()) == []
        editor[0, :, :] = 0
        with pytest.raises(SessionError, match="no mask to accept"):
            session.accept(0)
        assert not session.folder.exists()
    assert [path.name for path in sample.clip.iterdir() if path.suffix] == []


@pytest.mark.parametrize("how", ["draw", "propose"])
def test_the_first_mask_makes_the_folder(sample, how: str) -> None:
    with Session.open(sample.video, lazy=True) as session:
        masks = session.masks
        if how == "draw":
            session.editable()[3, 2:9, 2:9] = 1
        else:
            session.propose(3, ones(session), "v1")
        assert masks[3].any() and (session.folder / "session.json").is_file()
        with pytest.raises(SessionError, match="open in another window"):
            Session.open(session.folder)
    with Session.open(sample.video, lazy=True) as again:
        assert again.status(3) == ("corrected" if how == "draw" else "proposed") and again.masks[3].any()


def test_two_who_look_do_not_both_begin(sample) -> None:
    with Session.open(sample.video, lazy=True) as first, Session.open(sample.video, lazy=True) as second:
        first.correct(0, ones(first))
        with pytest.raises(SessionError, match="open in another window"):
            second.correct(1, ones(second))
        assert first.frames_with("corrected") == [0]
        first.close()
        with pytest.raises(SessionError, match="made by another window"):
            second.correct(1, ones(second))


def test_a_place_that_cannot_be_written_is_said_before_the_first_stroke(sample, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SessionError, match="Choose a session folder"):
        Session.open(sample.video, lazy=True)


def test_a_folder_that_goes_away_before_the_first_stroke_is_one_clear_sentence(
    sample, tmp_path: Path
) -> None:
    with Session.open(sample.video, folder=tmp_path / "new" / "s", lazy=True) as session:
        (tmp_path / "new").write_text("in the way")
        with pytest.raises(SessionError, match="Choose a session folder"):
            session.correct(0, ones(session))
        assert session.status(0) == "empty"
        (tmp_path / "new").unlink()
        session.correct(0, ones(session))
        assert session.status(0) == "corrected"
