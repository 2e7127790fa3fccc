"""A process kept ready for a fine-tune: used once, replaced when it died, gone with whoever asked for it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from vivim import Session, Vivim, finetune, load_model
from vivim.errors import FinetuneError
from vivim.finetuning.events import Finished, Preparing, Step
from vivim.finetuning.worker_process import Standby, WorkerProcess
from vivim.registry.registry import list_models

PATIENCE = 500
"""Seconds after which a process that should end is taken to go on for ever: it may still be loading PyTorch."""


@pytest.fixture
def standby(begun: list[WorkerProcess]) -> Iterator[Standby]:
    made = Standby()
    yield made
    made.close()


def corrected(session: Session, sample) -> Session:
    for t in (2, 6):
        session.correct(t, sample.masks[t])
    return session


def test_the_process_that_waits_does_the_work_and_then_ends(
    session: Session, sample, tiny_model: Vivim, standby: Standby, begun: list[WorkerProcess]
) -> None:
    standby.start()
    standby.start()  # one is enough
    events = finetune([corrected(session, sample)], tiny_model, name="mine", standby=standby)
    assert isinstance(next(events), Preparing)
    *_, last = events
    assert isinstance(last, Finished) and load_model("mine").version == last.version
    assert len(begun) == 1 and not begun[0].lives


def test_one_that_died_while_it_waited_is_replaced(
    session: Session, sample, tiny_model: Vivim, standby: Standby, begun: list[WorkerProcess]
) -> None:
    standby.start()
    die(begun[0])
    standby.start()
    assert len(begun) == 2
    die(begun[1])
    *_, last = finetune([corrected(session, sample)], tiny_model, standby=standby)
    assert isinstance(last, Finished) and len(begun) == 3


def die(worker: WorkerProcess) -> None:
    worker.process.kill()
    worker.process.wait(PATIENCE)


def test_killed_or_cancelled_at_work_it_leaves_every_model_as_it_was(
    session: Session, sample, tiny_model: Vivim, standby: Standby, begun: list[WorkerProcess]
) -> None:
    names = [m.name for m in list_models()]
    standby.start()
    events = finetune([corrected(session, sample)], tiny_model, standby=standby)
    while not isinstance(next(events), Step):
        pass
    begun[0].process.kill()
    with pytest.raises(FinetuneError, match="stopped unexpectedly"):
        list(events)
    standby.start()
    events = finetune([session], tiny_model, standby=standby)
    while not isinstance(next(events), Step):
        pass
    events.close()
    assert len(begun) == 2 and not any(worker.lives for worker in begun)
    assert [m.name for m in list_models()] == names


def test_nobody_asks_for_it_and_it_is_given_up(begun: list[WorkerProcess]) -> None:
    standby = Standby(seconds=0.1)
    standby.start()
    begun[0].process.wait(PATIENCE)
    while begun[0].folder.exists():
        time.sleep(0.01)
    standby.close()


def test_once_closed_nothing_is_started(standby: Standby, begun: list[WorkerProcess]) -> None:
    standby.start()
    standby.close()
    standby.start()
    assert len(begun) == 1 and not begun[0].lives


def test_it_ends_when_the_program_that_started_it_is_killed() -> None:
    program = (
        "import time; from vivim.finetuning.worker_process import Standby; "
        "Standby().start(); print('on'); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None and parent.stdout.readline() == "on\n"
            (process,) = psutil.Process(parent.pid).children()
        finally:
            parent.kill()
    gone, alive = psutil.wait_procs([process], timeout=PATIENCE)
    assert gone and not alive
