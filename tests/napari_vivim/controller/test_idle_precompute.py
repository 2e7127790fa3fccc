"""Working ahead in the window: after a correction, making way for everything else, ended with the video."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from napari_vivim.controller import idle_precompute as ahead_module


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the work: goes on until it is told to stop; `models` it began with, `stopped` how often."""
    seen = SimpleNamespace(models=[], stopped=0, standbys=[])

    def precompute(session: Any, model: Any, *, stop: threading.Event, **_: Any) -> Iterator[int]:
        seen.models.append(model.name)
        try:
            yield 1
            assert stop.wait(60)
        finally:  # also where it is told to before it waits
            seen.stopped += 1

    monkeypatch.setattr(ahead_module, "QUIET_MS", 1)
    monkeypatch.setattr("vivim.finetuning.precompute.precompute", precompute)
    monkeypatch.setattr("vivim.finetuning.worker_process.WorkerProcess", lambda: FakeProcess(seen))
    return seen


class FakeProcess:
    """A process that waits; on the list while it lives."""

    lives = True

    def __init__(self, seen: SimpleNamespace) -> None:
        self._all = seen.standbys
        self._all.append(self)

    def close(self) -> None:
        self._all.remove(self)


def correct(segment: Any, t: int) -> None:
    segment.controller.go_to(t)
    segment.controller.masks.paint((t, 30, 30), 1)


def test_a_correction_sets_it_off_and_a_click_goes_first(ahead, segment, qtbot, fake_model) -> None:
    controller = segment.controller
    qtbot.waitUntil(lambda: controller.warming is None)
    assert not ahead.models, "nothing is corrected yet"
    correct(segment, 3)
    qtbot.waitUntil(lambda: len(ahead.models) == 1)
    assert len(ahead.standbys) == 1
    controller.propose("swift", "cpu")
    qtbot.waitUntil(lambda: not controller.busy, timeout=10000)
    assert ahead.stopped == 1
    assert len(controller.session.frames_with("proposed")) == len(controller.session) - 1
    qtbot.waitUntil(lambda: len(ahead.models) == 2)
    assert controller.precompute.model == "swift"


def test_another_stroke_makes_it_begin_anew(ahead, segment, qtbot, fake_model) -> None:
    correct(segment, 3)
    qtbot.waitUntil(lambda: len(ahead.models) == 1)
    correct(segment, 5)
    qtbot.waitUntil(lambda: len(ahead.models) == 2)
    assert ahead.stopped == 1 and len(ahead.standbys) == 1


def test_moving_about_makes_it_pause(ahead, segment, qtbot, fake_model) -> None:
    controller = segment.controller
    qtbot.waitUntil(lambda: controller.warming is None)
    controller.go_to(2)
    qtbot.wait(50)
    assert not ahead.models, "nothing is corrected yet"
    correct(segment, 3)
    qtbot.waitUntil(lambda: len(ahead.models) == 1)
    controller.go_to(7)
    qtbot.waitUntil(lambda: ahead.stopped == 1 and len(ahead.models) == 2)
    assert len(ahead.standbys) == 1


def test_closing_the_video_stops_it_and_ends_the_process(ahead, segment, qtbot, fake_model) -> None:
    correct(segment, 3)
    qtbot.waitUntil(lambda: len(ahead.models) == 1)
    segment.viewer.layers.remove(segment.controller.layer)
    qtbot.waitUntil(lambda: ahead.stopped == 1 and not ahead.standbys)


def test_what_fails_ahead_disturbs_nobody(ahead, segment, qtbot, fake_model, monkeypatch) -> None:
    def failing(*_: Any, **__: Any) -> Iterator[int]:
        ahead.models.append("failing")
        yield 1
        raise RuntimeError("no memory")

    monkeypatch.setattr("vivim.finetuning.precompute.precompute", failing)
    correct(segment, 3)
    qtbot.waitUntil(lambda: ahead.models == ["failing"] and segment.controller.precompute.job is None)
    controller = segment.controller
    controller.propose("starter", "cpu")
    qtbot.waitUntil(lambda: not controller.busy, timeout=10000)
    assert controller.session.status(4) == "proposed"


def test_only_for_the_video_in_front_a_process_waits(ahead, segment, qtbot, fake_model, tmp_path) -> None:
    def waits(controller: Any) -> bool:
        return controller.precompute.standby._waiting is not None

    first = segment.controller
    correct(segment, 3)
    qtbot.waitUntil(lambda: waits(first))
    other = first.video_path.with_name("other.mp4")
    other.write_bytes(first.video_path.read_bytes())
    segment.viewer.open(str(other), plugin="napari-vivim")
    qtbot.waitUntil(lambda: segment.controller is not first and segment.controller.session is not None)
    second = segment.controller
    qtbot.waitUntil(lambda: not ahead.standbys)
    correct(segment, 5)
    qtbot.waitUntil(lambda: waits(second))
    segment.video.setCurrentIndex(segment.video.findData(first.layer))
    qtbot.waitUntil(lambda: waits(first) and len(ahead.standbys) == 1 and ahead.stopped == 2)
    assert not waits(second)
