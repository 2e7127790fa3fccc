"""Ctrl-C, or a notebook's interrupt, at any moment: what is written next wins, and nothing is half done."""

from __future__ import annotations

import linecache
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session import patience

OURS = str(Path(patience.__file__).parent)


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


class Slow:
    """Masks on a disk that takes its time, until `go` is set; `begun` says that it is at one."""

    def __init__(self, masks: Any) -> None:
        self._masks, self.begun, self.go = masks, threading.Event(), threading.Event()

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._masks[key]

    def __setitem__(self, t: int, pixels: np.ndarray) -> None:
        self.begun.set()
        self.go.wait(20)
        self._masks[t] = pixels


def interrupted(work: Callable[[], object], when: threading.Event, release: threading.Event) -> None:
    """Interrupt `work`, in the calling thread, once `when` is set, and let the disk answer a moment later."""
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("a wait for a lock cannot be interrupted here")
    me = threading.get_ident()

    def strike() -> None:
        when.wait(10)
        signal.pthread_kill(me, signal.SIGINT)
        release.wait(0.3)  # the interrupt comes while the disk is still at it
        release.set()

    striker = threading.Thread(target=strike)
    striker.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    striker.join()


def disk_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vivim-disk"]


def test_what_is_drawn_after_an_interrupt_is_not_written_over_by_what_came_before(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(session._masks)
    monkeypatch.setattr(session, "_masks", slow)
    heard: list[int] = []
    session.on_change(lambda t, status: heard.append(t))
    interrupted(lambda: session.correct(3, of(session, 1)), slow.begun, slow.go)
    session.end_step()
    session.correct(3, of(session, 2))
    for thread in disk_threads():
        thread.join(10)
    assert (session.masks[3] == 2).all() and heard == [3, 3]
    assert session.undo() == [3] and (session.masks[3] == 1).all()
    assert session.undo() == [3] and session.status(3) == "empty"
    assert session.verify() == []


def test_a_disk_that_stays_silent_after_an_interrupt_is_said_and_nothing_gets_out_of_order(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, nobody = Slow(session._masks), threading.Event()
    monkeypatch.setattr(session, "_masks", slow)
    monkeypatch.setattr(patience, "SECONDS", 0.2)
    interrupted(lambda: session.correct(3, of(session, 1)), slow.begun, nobody)
    with pytest.raises(SessionError, match="still does not answer"):
        session.correct(3, of(session, 2))
    slow.go.set()
    monkeypatch.setattr(patience, "SECONDS", 10)
    for thread in disk_threads():
        thread.join(10)
    session.correct(3, of(session, 3))
    assert (session.masks[3] == 3).all() and session.verify() == []


class Strike:
    """Raises a KeyboardInterrupt at the `number`-th line that the calling thread runs in the session's modules."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS) or "folder.py" in frame.f_code.co_filename:
            return self  # deeper there may be more of ours
        # Python itself sees to it that none comes between the end of a block and letting go of its lock
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self

    def during(self, work: Callable[[], object]) -> bool:
        """Whether `work` was interrupted; any other error is raised."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            work()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def acts(session: Session, editor: Any, value: int) -> dict[str, Callable[[], object]]:
    return {
        "correct": lambda: session.correct(3, of(session, value)),
        "paint": lambda: editor.__setitem__((slice(2, 5), slice(0, 9), slice(0, 9)), value),
        "accept": lambda: session.accept_frames([2, 3, 4]),
        "clear": lambda: session.clear(3),
        "revert": lambda: session.revert(3),
        "undo": session.undo,
        "redo": session.redo,
        "propose": lambda: session.propose(6, of(session, value), "v1"),
        "undo_frames": session.undo_frames,
    }


def check_after(session: Session, editor: Any, value: int) -> None:
    """What is acknowledged after an interrupt stays, for the window, the disk and the ledger alike."""
    session.end_step()
    session.correct(3, of(session, value))
    assert (session.masks[3] == value).all() and (editor[3] == value).all()
    assert session.status(3) == "corrected"
    free: list[bool] = []

    def other() -> None:
        if session._lock.acquire(timeout=5):
            free.append(True)
            session._lock.release()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert free, "the session's lock is held by nobody who works"
    before = np.asarray(session.masks[3])
    assert session.undo() == [3] and session.redo() == [3]
    np.testing.assert_array_equal(session.masks[3], before)
    assert session.verify() == []


def interrupt_everywhere(session: Session, step: int, first: int = 1) -> int:
    """Interrupt each act at every `step`-th of its lines; returns how often."""
    editor, count, value = session.editable(), 0, 0
    for t in range(2, 6):
        session.propose(t, of(session, 9), "v1")
    for name in acts(session, editor, 1):
        number = first
        while True:
            value = value % 200 + 1
            if Strike(number).during(acts(session, editor, value)[name]):
                count += 1
            else:
                break
            check_after(session, editor, value + 1)
            number += step
    return count


def test_an_interrupt_at_any_line_leaves_a_session_that_goes_on(session: Session) -> None:
    count = interrupt_everywhere(session, step=random.Random(0).randint(7, 13))
    assert count > 40
    session.close()
    with Session.open(session.folder) as again:
        assert again.verify() == [] and again.status(3) == "corrected"


def test_an_interrupt_while_closing_is_made_up_for_by_closing_again(session: Session) -> None:
    session.correct(1, of(session, 1))
    for number in range(1, 200):
        struck = Strike(number).during(session.close)
        session.close()
        assert not (session.folder / "lock.holder").exists()
        if not struck:
            return
        again = Session.open(session.folder)
        assert again.frames_with("corrected") == [1]
        session = again
    pytest.fail("closing never came to an end")
