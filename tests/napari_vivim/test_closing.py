"""Closing waits for nothing, and loses nothing; see also test_stalled_export.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vivim import Session

from napari_vivim.closing import wait_for_closing
from napari_vivim.loading import aside
from napari_vivim.worker import Job, Worker


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that stalls when a session is closed, until the gate is opened."""
    opened, close = threading.Event(), Session.close
    monkeypatch.setattr(Session, "close", lambda session: (opened.wait(60), close(session)))
    yield opened
    opened.set()
    wait_for_closing()


def test_a_disk_that_stalls_holds_no_window_and_the_last_stroke_is_kept(
    segment: Any, video: Path, gate: threading.Event
) -> None:
    session = segment.controller.session
    segment.controller.masks.paint((3, 30, 30), 1)
    segment.viewer.layers.clear()
    assert not session._closed  # we are here although the disk has not answered
    gate.set()
    wait_for_closing()
    assert session._closed
    with Session.open(video) as again:
        assert again.status(3) == "corrected" and again.masks[3][30, 30] == 1


def test_a_session_opened_again_waits_until_it_is_closed(
    segment: Any, qtbot: Any, gate: threading.Event
) -> None:
    controller = segment.controller
    controller.masks.paint((3, 30, 30), 1)
    segment.viewer.layers.remove(controller.masks)
    assert controller.session is None
    controller.open_session()
    gate.set()
    qtbot.waitUntil(lambda: controller.session is not None, timeout=10000)
    assert controller.session.status(3) == "corrected"


def test_what_was_accepted_just_before_closing_is_accepted(
    segment: Any, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, session, slow = segment.controller, segment.controller.session, threading.Event()
    for t in range(12):
        session.propose(t, np.ones(session.shape[1:], np.uint8), "model")
    accept = session.accept_frames
    monkeypatch.setattr(session, "accept_frames", lambda frames: slow.wait(60) and accept(frames))
    controller.go_to(11)
    controller.editing._later(lambda: slow.wait(60), lambda result: None)
    controller.editing.accept_up_to_here()  # waits behind that
    segment.viewer.layers.clear()
    slow.set()
    wait_for_closing()
    with Session.open(video) as again:
        assert again.frames_with("accepted") == list(range(12))


def test_a_job_that_does_not_stop_holds_nobody(qtbot: Any) -> None:
    begun, release, worker = threading.Event(), threading.Event(), Worker("test")

    def work() -> Iterator[int]:
        begun.set()
        yield int(release.wait(60))

    running = worker.submit(Job(work))
    waiting = worker.submit(Job(work))
    assert begun.wait(60)
    worker.close()
    assert waiting.over.is_set() and not running.over.is_set()
    release.set()
    assert running.over.wait(60)


def test_the_window_goes_on_while_something_is_done_aside(qtbot: Any) -> None:
    from qtpy.QtCore import QTimer

    ticked = threading.Event()
    QTimer.singleShot(0, ticked.set)
    assert aside(lambda: ticked.wait(60))
    with pytest.raises(KeyError, match="missing"):
        aside(lambda: {}["missing"])
