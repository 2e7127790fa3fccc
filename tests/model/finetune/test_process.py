"""A process kept ready for a fine-tune: used once, replaced when it died, gone with whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from vivim import Session, Vivim, finetune, load_model
from vivim.errors import FinetuneError
from vivim.finetune import Finished, Preparing, Standby, Step
from vivim.models import list_models

PATIENCE = 60
"""Seconds after which a process that should end is taken to go on for ever."""


@pytest.fixture
def standby() -> Iterator[Standby]:
    made = Standby()
    yield made
    made.close()


def waiting(standby: Standby) -> psutil.Process:
    standby.start()
    (one,) = [p for p in psutil.Process().children() if "vivim.finetune.worker" in " ".join(p.cmdline())]
    return one


def corrected(session: Session, sample) -> Session:
    for t in (2, 6):
        session.correct(t, sample.masks[t])
    return session


def test_the_process_that_waits_does_the_work_and_then_ends(
    session: Session, sample, tiny_model: Vivim, standby: Standby
) -> None:
    process = waiting(standby)
    standby.start()  # one is enough
    events = finetune([corrected(session, sample)], tiny_model, name="mine", standby=standby)
    assert isinstance(next(events), Preparing)
    assert psutil.Process().children() == [process]
    *_, last = events
    assert isinstance(last, Finished) and load_model("mine").version == last.version
    assert not process.is_running()


def test_one_that_died_while_it_waited_is_replaced(
    session: Session, sample, tiny_model: Vivim, standby: Standby
) -> None:
    process = waiting(standby)
    process.kill()
    process.wait(PATIENCE)
    standby.start()
    another = waiting(standby)
    assert another.pid != process.pid
    another.kill()
    another.wait(PATIENCE)
    *_, last = finetune([corrected(session, sample)], tiny_model, standby=standby)
    assert isinstance(last, Finished)


def test_killed_or_cancelled_at_work_it_leaves_every_model_as_it_was(
    session: Session, sample, tiny_model: Vivim, standby: Standby
) -> None:
    names = [m.name for m in list_models()]
    process = waiting(standby)
    events = finetune([corrected(session, sample)], tiny_model, standby=standby)
    while not isinstance(next(events), Step):
        pass
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(FinetuneError, match="stopped unexpectedly"):
        list(events)
    process = waiting(standby)
    events = finetune([session], tiny_model, standby=standby)
    while not isinstance(next(events), Step):
        pass
    events.close()
    assert not process.is_running() and not psutil.Process().children()
    assert [m.name for m in list_models()] == names


def test_nobody_asks_for_it_and_it_is_given_up() -> None:
    process = waiting(Standby(seconds=0.1))
    process.wait(PATIENCE)


def test_once_closed_nothing_is_started(standby: Standby) -> None:
    process = waiting(standby)
    standby.close()
    assert not process.is_running()
    standby.start()
    assert not psutil.Process().children()


def test_it_ends_when_the_program_that_started_it_is_killed() -> None:
    program = (
        "import time; from vivim.finetune import Standby; Standby().start(); print('on'); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "on\n"
        (process,) = psutil.Process(parent.pid).children()
        parent.kill()
    gone, alive = psutil.wait_procs([process], timeout=PATIENCE)
    assert gone and not alive
