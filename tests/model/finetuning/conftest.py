"""The processes of fine-tunes that one test begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vivim.finetuning.worker_process import WorkerProcess


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WorkerProcess]]:
    """Those of this test, in the order in which they were begun; all are ended after it."""
    made: list[WorkerProcess] = []
    begin = WorkerProcess.__init__

    def noted(worker: WorkerProcess) -> None:
        begin(worker)
        made.append(worker)

    monkeypatch.setattr(WorkerProcess, "__init__", noted)
    yield made
    for worker in made:
        worker.close()
