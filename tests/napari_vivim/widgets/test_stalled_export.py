"""A window whose export stands in a share that stalls: it can be cancelled, and closing does not wait for the share."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vivim import Session
from vivim.io import export as api
from vivim.io.export import export
from vivim.utils import stalling_io

from napari_vivim.background.worker import Job, Worker


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_an_export_that_stalls_is_cancelled_and_does_not_keep_the_window(
    qtbot: Any, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalling_io, "SECONDS", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    events: list[Any] = []
    with Session.open(video) as session:
        session.propose(0, np.ones(session.shape[1:], np.uint8), "v1")
        worker = Worker("test")
        with monkeypatch.context() as patch:
            patch.setattr(api, "part_of", lambda final: pipe)
            job = Job(lambda: export(session, tmp_path / "out", ["csv"]))
            job.event.connect(events.append)
            worker.submit(job)
            qtbot.waitUntil(lambda: any(event.note for event in events), timeout=5000)
            with qtbot.waitSignal(job.ended, timeout=2000) as ended:
                job.cancel()
            assert ended.args == [False]
            second = worker.submit(Job(lambda: export(session, tmp_path / "out", ["csv"])))
            second.event.connect(events.append)
            events.clear()
            qtbot.waitUntil(lambda: any(event.note for event in events), timeout=5000)
        worker.close()  # as when the window goes: it returns although the share has not answered
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        for thread in threading.enumerate():
            if thread.name == "vivim-export":
                thread.join(60)
        os.close(reading)
    assert list((tmp_path / "out").iterdir()) == []
