"""Following a session: what goes wrong is said once and following goes on; of a closed session nothing is said."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.video import make_phantom, write_video

from napari_vivim.background import session_watcher
from napari_vivim.background.session_watcher import SessionWatcher


class Failing(SessionWatcher):
    """Fails at the first look; after `hold`, where it is set."""

    def __init__(self, session: Session, hold: threading.Event | None = None) -> None:
        super().__init__(session)
        self.hold, self.began, self.registered = hold, threading.Event(), threading.Event()
        self.seen: list[set[int]] = []

    def on_changed(self, frames: set[int]) -> None:
        self.began.set()
        if self.hold is not None:
            self.hold.wait(60)
        self.seen.append(frames)
        if len(self.seen) == 1:
            raise SessionError("Frame 1 cannot be read.")

    def on_quiet(self) -> None:
        self.registered.set()


@pytest.fixture
def session(tmp_path: Path):
    phantom = make_phantom(frames=4, size=(32, 32), seed=0)
    write_video(tmp_path / "a.mp4", phantom.frames, 25.0)
    with Session.open(tmp_path / "a.mp4", folder=tmp_path / "a.vivim") as session:
        yield session


def test_what_goes_wrong_is_said_and_following_goes_on(qtbot, session: Session) -> None:
    session.correct(1, np.ones(session.shape[1:], np.uint8))
    watch = Failing(session)
    with qtbot.waitSignal(watch.failed, timeout=20_000) as said:
        watch.begin()
    assert "cannot be read" in str(said.args[0])
    session.correct(2, np.ones(session.shape[1:], np.uint8))
    qtbot.waitUntil(watch.registered.is_set, timeout=20_000)
    assert watch.seen == [{1}, {2}]
    watch.close()


def test_nothing_is_said_of_a_session_that_was_closed(qtbot, session: Session) -> None:
    session.correct(1, np.ones(session.shape[1:], np.uint8))
    hold, said = threading.Event(), []
    watch = Failing(session, hold)
    watch.failed.connect(said.append)
    watch.begin()
    qtbot.waitUntil(watch.began.is_set, timeout=20_000)
    watch.close()
    hold.set()
    watch._thread.join(60)
    qtbot.wait(50)
    assert watch.seen == [{1}] and said == []


def test_nothing_is_measured_while_a_person_paints(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_watcher, "PAUSE_SECONDS", 3600.0)
    watch = Failing(session)
    watch.seen.append(set())  # the first look is not the one that fails
    watch.begin()
    for row in range(3):
        session.correct(1, np.eye(32, k=row, dtype=np.uint8))
        assert not watch.began.wait(0.1)
    monkeypatch.setattr(session_watcher, "PAUSE_SECONDS", 0.0)
    with watch._news:
        watch._news.notify_all()
    assert watch.began.wait(60)
    assert watch.registered.wait(60) and watch.seen == [set(), {1}]
    watch.close()
