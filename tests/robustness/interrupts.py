"""Interrupt a session, as Ctrl-C does, at one line after another of all that can be done to a mask.

``python tests/robustness/interrupts.py --count 2000``. After each interrupt: what is drawn next wins, the window and
the disk show the same, the session's lock is free, undo and redo work, and the ledger speaks of the masks that are
there. Stops at the first that fails; prints how many there were.
"""

from __future__ import annotations

import argparse
import json
import linecache
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from vivim.session import Session, write_queue
from vivim.video import make_phantom, write_video

OURS = str(Path(write_queue.__file__).parent)


def of(session: Session, value: int) -> np.ndarray:
    """A mask of one label."""
    return np.full(session.shape[1:], value, np.uint8)


class Strike:
    """Raises a KeyboardInterrupt at the `number`-th line that the calling thread runs in the session's modules."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.where = ""
        self.seen: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(OURS) or "folder.py" in frame.f_code.co_filename:
            return self  # deeper there may be more of ours
        # Python itself sees to it that none comes between the end of a block and letting go of its lock, nor at the
        # no-op of a bare "try:", which it leaves out of the table of exceptions
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        leaving = line.startswith("with ") or line == "try:" or self.seen.get(id(frame)) == frame.f_lineno
        if event == "line":
            self.seen[id(frame)] = frame.f_lineno
        if event == "line" and not leaving:
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
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
        "reset": lambda: session.reset(3),
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
        if session._gate.lock.acquire(timeout=5):
            free.append(True)
            session._gate.lock.release()

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
            strike = Strike(number)
            if not strike.during(acts(session, editor, value)[name]):
                break
            count += 1
            try:
                check_after(session, editor, value + 1)
            except Exception as error:
                raise AssertionError(f"after {name} was interrupted at {strike.where}") from error
            number += step
    return count


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    wanted, done = parser.parse_args().count, 0
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder, "phantom.mp4"), make_phantom(10, size=(64, 64)).frames, 20.0)
        first = 1
        while done < wanted:
            with Session.open(video, folder=Path(folder, f"{first}.vivim")) as session:
                done += interrupt_everywhere(session, step=5, first=first)
            first += 1
    print(json.dumps({"interrupts": done, "faults": 0}))


if __name__ == "__main__":
    main()
