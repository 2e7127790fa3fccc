"""The window's work on a server: `vivim serve` in a process of its own, cut off, cancelled, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QComboBox


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Port and token of a server."""
    file = tmp_path_factory.mktemp("server") / "token"
    words = ["serve", "--port", "0", "--device", "cpu", "--token-file", str(file)]
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vivim", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=here,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving on http://127.0.0.1:")
        yield int(line.rpartition(":")[2]), file.read_text().strip()
    finally:
        process.terminate()
        assert process.wait(500) == 0


@pytest.fixture
def controller(server, swift_model, monkeypatch: pytest.MonkeyPatch, segment):
    """A window's controller whose registry has a model that answers at once."""
    from vivim.registry.registry import save_version
    from vivim.remote import client_connection

    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", server[1])
    monkeypatch.setattr(client_connection, "DELAYS", (0.01,) * 6)
    save_version(swift_model, "swift", {"licence": "test"})
    return segment.controller


def run(controller, qtbot, start) -> list:
    """Do a job of the window to its end; gives its events."""
    events, failed = [], []
    controller.job_event.connect(events.append)
    controller.job_failed.connect(lambda name, error: failed.append(error))
    start()
    qtbot.waitUntil(lambda: not controller.busy, timeout=60_000)
    controller.job_event.disconnect(events.append)
    assert not failed, failed
    return events


def choose(segment, qtbot, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Take the swift model and this server in the lists of Vivim Segment."""
    monkeypatch.setenv("VIVIM_REMOTE", f"http://127.0.0.1:{port}")
    segment.choices.refresh("swift")
    qtbot.waitUntil(lambda: segment.device.findText("remote (127.0.0.1)") > 0, timeout=10_000)
    segment.device.setCurrentText("remote (127.0.0.1)")
    assert segment.model.currentText() == "swift"


def correct(controller, *frames: int) -> None:
    for t in frames:
        mask = np.zeros((64, 64), np.uint8)
        mask[20 : 40 + t, 20:40] = 1
        controller.session.correct(t, mask)


def test_the_server_is_one_of_the_devices(server, controller, qtbot, monkeypatch) -> None:
    from napari_vivim.widgets.model_selector import ModelSelector, chosen_device

    monkeypatch.setenv("VIVIM_REMOTE", f"http://127.0.0.1:{server[0]}")
    models, devices = QComboBox(), QComboBox()
    kept = ModelSelector(models, devices)
    qtbot.waitUntil(lambda: devices.findText("remote (127.0.0.1)") > 0, timeout=10_000)
    devices.setCurrentText("remote (127.0.0.1)")
    assert kept is not None and chosen_device(devices) == f"remote:http://127.0.0.1:{server[0]}"


def test_proposing_is_that_of_this_machine_though_the_connection_breaks(
    server, controller, segment, relay, qtbot, monkeypatch, tmp_path: Path
) -> None:
    from vivim import Session, load_model, propose

    correct(controller, 2, 9)
    lives, shown = iter([1100, 0, 1500]), []
    controller.job_event.connect(lambda event: shown.append(segment.progress.text.text()))
    with relay(server[0], lambda: next(lives, 2**40)) as port:
        choose(segment, qtbot, monkeypatch, port)
        run(controller, qtbot, segment.propose.click)
    assert next(lives, None) is None
    assert any("waiting for 127.0.0.1, trying again in 1 s" in text for text in shown)
    assert segment.propose.isEnabled() and not segment.progress.isVisible()
    with Session.open(controller.video_path, folder=tmp_path / "here") as here:
        for t in (2, 9):
            here.correct(t, np.asarray(controller.session.masks[t]))
        list(propose(here, load_model("swift"), device="cpu"))
        assert np.array_equal(here.masks[:], controller.session.masks[:]) and here.masks[5].any()
    assert controller.counts() == {"empty": 0, "proposed": 10, "corrected": 2, "accepted": 0}


def test_a_finetune_goes_on_though_the_connection_breaks(server, controller, relay, qtbot) -> None:
    from vivim.finetuning.events import Finished, Step
    from vivim.registry.registry import list_models

    correct(controller, 2)  # one: nothing to hold out, which would take longer
    lives = iter([900, 0, 3000])
    with relay(server[0], lambda: next(lives, 2**40)) as port:
        device = f"remote:http://127.0.0.1:{port}"
        events = run(controller, qtbot, lambda: controller.finetune("swift", device, "decoder"))
    steps = [event for event in events if isinstance(event, Step)]
    assert next(lives, None) is None
    assert [event.step for event in steps] == list(range(1, steps[-1].total + 1))
    finished = next(event for event in events if isinstance(event, Finished))
    assert [info.name for info in list_models()] == ["starter", "swift", finished.name]
    assert controller.session.frames_with("corrected") == [2]


def test_a_wrong_token_is_told_in_the_window_and_the_next_step_works(
    server, controller, segment, qtbot, monkeypatch
) -> None:
    choose(segment, qtbot, monkeypatch, server[0])
    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", "of yesterday")
    notification_manager.records.clear()
    segment.propose.click()
    qtbot.waitUntil(lambda: not controller.busy, timeout=20_000)
    told = [record.message for record in notification_manager.records]
    assert told == ["127.0.0.1 does not accept this token. Ask its keeper for the present one."]
    assert controller.counts()["empty"] == 12 and segment.propose.isEnabled()
    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", server[1])
    run(controller, qtbot, segment.propose.click)
    assert controller.counts()["proposed"] == 12


def test_the_card_of_a_finetune_on_the_server_is_that_of_one_here(
    server, controller, segment, qtbot, monkeypatch
) -> None:
    choose(segment, qtbot, monkeypatch, server[0])
    learning = segment.learning
    learning.model.setCurrentText("swift")
    correct(controller, 2, 9)
    learning.update_state()
    run(controller, qtbot, learning.learn.click)
    card = learning.card
    before, after = map(float, card.scores.text().removeprefix("Dice ").split(" → "))
    better = after > before
    assert card.verdict.text().endswith(
        "etter: “swift-tuned” is now in use." if better else ": “swift” stays in use."
    )
    assert card.choose.text() == ("Go back to “swift”" if better else "Use it anyway")
    assert {text.split(":")[0] for text in card.frames.text().split(", ")} == {"2", "9"}
    assert controller.session.frames_with("corrected") == [2, 9]


def test_cancelling_frees_the_server_and_loses_nothing(server, controller, qtbot) -> None:
    from vivim.finetuning.events import Step
    from vivim.registry.registry import list_models

    correct(controller, 2, 9)
    device = f"remote:http://127.0.0.1:{server[0]}"
    controller.job_event.connect(lambda event: controller.cancel() if isinstance(event, Step) else None)
    events = run(controller, qtbot, lambda: controller.finetune("swift", device, "decoder"))
    assert sum(isinstance(event, Step) for event in events) < 20
    assert [info.name for info in list_models()] == ["starter", "swift"]
    events = run(controller, qtbot, lambda: controller.propose("swift", device))
    assert events[-1].done == 10 and controller.session.frames_with("corrected") == [2, 9]
