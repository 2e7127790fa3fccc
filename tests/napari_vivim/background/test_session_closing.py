"""Closing waits for nothing, and loses nothing; see also test_stalled_export.py."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vivim import Session

from napari_vivim.background.worker import Job, Worker, in_background, wait_for_closing


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


WINDOW = """
import sys
import napari
from napari.settings import get_settings
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from napari_vivim.controller.video_controller import controllers
from napari_vivim.qt.napari_window import main_window

get_settings().application.confirm_close_window = False
viewer = napari.Viewer()
viewer.open(sys.argv[1], plugin="napari-vivim")

def look():
    for controller in controllers(viewer).values():
        if controller is not None and controller.session is not None:
            timer.stop()
            controller.masks.paint((3, 30, 30), 1)
            main_window(viewer).close() if sys.argv[2] == "X" else QApplication.instance().quit()

timer = QTimer()
timer.timeout.connect(look)
timer.start(20)
napari.run()
"""


@pytest.mark.parametrize("how", ["X", "quit"])
def test_closing_the_window_closes_its_sessions(
    make_napari_viewer: Any, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """In a program of its own; `make_napari_viewer` only skips it where there is no display."""
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "settings.yaml"))
    done = subprocess.run([sys.executable, "-c", WINDOW, str(video), how], capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    home = video.with_name(video.name + ".vivim")
    assert (home / "ledger.jsonl").exists() and not (home / "lock.holder").exists()
    with Session.open(video) as again:
        assert again.frames_with("corrected") == [3] and again.verify() == []


def test_a_session_that_was_being_opened_when_its_video_was_closed_is_closed(
    segment: Any, qtbot: Any, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, found, answer, opened = segment.controller, threading.Event(), threading.Event(), []
    controller.masks.paint((3, 30, 30), 1)
    segment.viewer.layers.remove(controller.masks)
    real = Session.open

    def slow(*args: Any, **kwargs: Any) -> Session:
        found.set()
        answer.wait(60)
        opened.append(real(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(Session, "open", slow)
    controller.open_session()
    assert found.wait(60)
    segment.viewer.layers.clear()
    answer.set()
    wait_for_closing()
    qtbot.waitUntil(lambda: bool(opened) and opened[0]._closed, timeout=10000)
    assert not (video.with_name(video.name + ".vivim") / "lock.holder").exists()


def test_opening_that_is_cancelled_closes_its_session_and_can_be_done_again(
    segment: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, answer, opened = segment.controller, threading.Event(), []
    controller.masks.paint((3, 30, 30), 1)
    segment.viewer.layers.remove(controller.masks)
    wait_for_closing()
    real = Session.open

    def slow(*args: Any, **kwargs: Any) -> Session:
        assert answer.wait(60)
        opened.append(real(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(Session, "open", slow)
    controller.open_session()
    controller.cancel()
    answer.set()
    qtbot.waitUntil(lambda: not controller.busy)
    assert controller.session is None and [one._closed for one in opened] == [True]
    controller.open_session()
    qtbot.waitUntil(lambda: controller.session is not None)
    assert controller.session is opened[1] and controller.session.status(3) == "corrected"


def test_opening_that_is_cancelled_when_the_session_is_there_closes_it(
    segment: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, opened = segment.controller, []
    controller.masks.paint((3, 30, 30), 1)
    segment.viewer.layers.remove(controller.masks)
    wait_for_closing()
    real = Session.open

    def cancelled(*args: Any, **kwargs: Any) -> Session:
        opened.append(real(*args, **kwargs))
        controller.cancel()
        return opened[-1]

    monkeypatch.setattr(Session, "open", cancelled)
    controller.open_session()
    qtbot.waitUntil(lambda: not controller.busy)
    assert controller.session is None and opened[0]._closed and controller._opened == []


def test_the_video_of_a_layer_is_closed_with_it_unless_another_layer_shows_it(
    segment: Any, qtbot: Any
) -> None:
    from napari.layers import Image

    layer = segment.controller.layer
    copy = segment.viewer.add_layer(Image(layer.data, name="copy", rgb=True))
    segment.viewer.layers.remove(layer)
    qtbot.wait(1)  # it is decided in a turn of its own
    wait_for_closing()
    assert copy.data.video.frame(5).shape == (64, 64, 3)
    segment.viewer.open(layer.metadata["vivim_path"], plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not None and segment.controller.session is not None)
    layer, session = segment.controller.layer, segment.controller.session
    videos = [layer.data.video, session.video]
    segment.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: all(video.closed for video in videos))


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
    assert in_background(lambda: ticked.wait(60))
    with pytest.raises(KeyError, match="missing"):
        in_background(lambda: {}["missing"])
