"""A network share that stalls under an export: it is said, one can stop, nothing half-written is left or believed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vivim import Session
from vivim.io import export as api
from vivim.io.export import export
from vivim.io.formats import png as export_png
from vivim.utils import stalling_io

PATIENCE = 0.2

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def worked(session: Session, sample) -> Session:
    for t in range(len(session)):
        session.propose(t, sample.masks[t], "v1")
    return session


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place whose opening takes for ever, where the next exports write: a pipe that nobody reads from."""
    monkeypatch.setattr(stalling_io, "SECONDS", PATIENCE)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(api, "part_of", lambda final: pipe)
    return pipe


def writing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vivim-export"]


def let_go(pipe: Path) -> None:
    """Let what is stuck go on, and wait for its end."""
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for thread in writing():
        thread.join(60)
    os.close(reading)
    assert writing() == []


def test_it_is_said_and_one_can_stop(worked: Session, stuck: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = export(worked, out, ["csv"])
    said = next(event for event in events if event.note)
    assert (said.format, said.done) == ("csv", 0) and re.fullmatch(r"no answer for \d+ s", said.note)
    events.close()  # returns although the share has not answered
    assert len(writing()) == 1 and list(out.iterdir()) == []
    let_go(stuck)
    assert not stuck.exists() and list(out.iterdir()) == []


def test_another_export_works_while_one_is_stuck(
    worked: Session, stuck: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    events = export(worked, out, ["csv"])
    next(event for event in events if event.note)
    events.close()
    monkeypatch.undo()
    list(export(worked, out, ["csv"]))
    whole = (out / "measurements.csv").read_bytes()
    let_go(stuck)
    assert [path.name for path in out.iterdir()] == ["measurements.csv"]
    assert (out / "measurements.csv").read_bytes() == whole


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Masks from the fourth on are written when this is set."""
    answer, save, count = threading.Event(), export_png.save_binary, iter(range(1000))

    def late(mask, path) -> None:
        if next(count) >= 3:
            answer.wait(60)
        save(mask, path)

    monkeypatch.setattr(stalling_io, "SECONDS", PATIENCE)
    monkeypatch.setattr(export_png, "save_binary", late)
    yield answer
    answer.set()


def test_what_answers_again_goes_on(worked: Session, slow: threading.Event, sample, tmp_path: Path) -> None:
    notes = []
    for event in export(worked, tmp_path / "out", ["png"]):
        if event.note and event.done == 3:
            notes.append(event.note)
            slow.set()
    assert notes
    for t, path in enumerate(sorted((tmp_path / "out" / "masks").iterdir())):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), sample.masks[t] * np.uint8(255))


def test_what_is_stopped_is_put_away_when_the_share_answers(
    worked: Session, slow: threading.Event, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    events = export(worked, out, ["png"])
    next(event for event in events if event.note and event.done == 3)
    events.close()
    assert [path.name[:5] for path in out.iterdir()] == [".part"]  # what is half-written is named so
    slow.set()
    for thread in writing():
        thread.join(60)
    assert list(out.iterdir()) == []


def test_what_was_given_up_while_it_was_flushed_is_not_put_in_place(
    worked: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(stalling_io, "SECONDS", PATIENCE)
    monkeypatch.setattr(api, "flush", lambda path: answer.wait(60))
    events = export(worked, tmp_path / "out", ["tiff"])
    next(event for event in events if event.note and event.done)
    events.close()
    answer.set()
    for thread in writing():
        thread.join(60)
    assert list((tmp_path / "out").iterdir()) == []


PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
from pathlib import Path
from vivim import cli
from vivim.io import export as api

def stuck(final):
    print("writes", flush=True)
    return Path(sys.argv[1])

api.part_of = stuck
sys.exit(cli.main(["export", sys.argv[2], "-o", sys.argv[3], "--format", "csv"]))
"""


def test_the_command_line_stops_on_ctrl_c(worked: Session, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    worked.close()
    words = [sys.executable, "-c", PROGRAM, pipe, worked.folder, tmp_path / "out"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "writes\n"
        program.send_signal(signal.SIGINT)
        try:
            _, said = program.communicate(timeout=500)
        finally:
            program.kill()  # else a failure here is one of every test that counts processes
    assert program.returncode not in (0, None) and "Traceback" not in said
    assert not (tmp_path / "out" / worked.folder.stem / "measurements.csv").exists()
