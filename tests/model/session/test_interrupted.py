"""Ctrl-C, or a notebook's interrupt, at any moment: what is written next wins, and nothing is half done."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session import write_queue
from vivim.session.mask_store import MaskStore

from tests.robustness.interrupts import Strike, interrupt_everywhere


def of(session: Session, value: int) -> np.ndarray:
    return np.full(session.shape[1:], value, np.uint8)


class Slow:
    """Masks are on a disk that takes its time, until `go` is set; `begun` says that it is at one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        write = MaskStore.__setitem__

        def slowly(masks: MaskStore, t: int, pixels: np.ndarray) -> None:
            self.begun.set()
            self.go.wait(60)
            write(masks, t, pixels)

        monkeypatch.setattr(MaskStore, "__setitem__", slowly)


def interrupted(work: Callable[[], object], when: threading.Event, release: threading.Event) -> None:
    """Interrupt `work`, in the calling thread, once `when` is set, and let the disk answer a moment later."""
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("a wait for a lock cannot be interrupted here")
    me = threading.get_ident()

    def strike() -> None:
        when.wait(60)
        signal.pthread_kill(me, signal.SIGINT)
        release.wait(0.3)  # the interrupt comes while the disk is still at it
        release.set()

    striker = threading.Thread(target=strike)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where tests run in the background
    try:
        striker.start()
        with pytest.raises(KeyboardInterrupt):
            work()
        striker.join()
    finally:
        signal.signal(signal.SIGINT, before)


def disk_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vivim-disk"]


def test_what_is_drawn_after_an_interrupt_is_not_written_over_by_what_came_before(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    heard: list[int] = []
    session.on_change(lambda t, status: heard.append(t))
    interrupted(lambda: session.correct(3, of(session, 1)), slow.begun, slow.go)
    session.end_step()
    session.correct(3, of(session, 2))
    for thread in disk_threads():
        thread.join(60)
    assert (session.masks[3] == 2).all() and heard == [3, 3]
    assert session.undo() == [3] and (session.masks[3] == 1).all()
    assert session.undo() == [3] and session.status(3) == "empty"
    assert session.verify() == []


def test_a_disk_that_stays_silent_after_an_interrupt_is_said_and_nothing_gets_out_of_order(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, nobody = Slow(monkeypatch), threading.Event()
    monkeypatch.setattr(write_queue, "SECONDS", 0.2)
    interrupted(lambda: session.correct(3, of(session, 1)), slow.begun, nobody)
    with pytest.raises(SessionError, match="still does not answer"):
        session.correct(3, of(session, 2))
    slow.go.set()
    monkeypatch.setattr(write_queue, "SECONDS", 60)
    for thread in disk_threads():
        thread.join(60)
    session.correct(3, of(session, 3))
    assert (session.masks[3] == 3).all() and session.verify() == []


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
