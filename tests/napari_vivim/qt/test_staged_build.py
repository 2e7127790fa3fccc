"""Opening a video asks little of each turn of the event loop."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget
from vivim import Session

from napari_vivim.qt.components import in_turns
from napari_vivim.timeline.timeline_widget import show_timeline
from napari_vivim.widgets import model_selector
from napari_vivim.widgets.model_selector import ModelSelector
from napari_vivim.widgets.segment_widget import SegmentWidget


def test_other_events_come_between_two_steps(qtbot: Any) -> None:
    owner, seen = QObject(), []

    def first() -> None:
        seen.append("a")
        QTimer.singleShot(0, lambda: seen.append("event"))

    in_turns(owner, first, lambda: seen.append("b"))
    assert not seen
    qtbot.waitUntil(lambda: len(seen) == 3)
    assert seen == ["a", "event", "b"]


def test_no_step_is_taken_once_what_it_works_on_is_gone(qtbot: Any) -> None:
    owner, seen = QObject(), []
    in_turns(owner, lambda: (seen.append("a"), owner.deleteLater()), lambda: seen.append("b"))
    qtbot.waitUntil(lambda: seen == ["a"])
    qtbot.wait(50)
    assert seen == ["a"]


def test_each_part_of_the_dock_is_made_in_a_turn_of_its_own(
    make_napari_viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, made, clock = 0, {}, QTimer()

    def tick() -> None:
        nonlocal turns
        turns += 1

    def noted(name: str, make: Any) -> Any:
        def part(widget: Any) -> None:
            made[name] = turns
            make(widget)

        return part

    parts = ("_add_propose", "_add_review", "_add_learning", "_add_exporting", "_add_last", "start")
    for name in parts:
        monkeypatch.setattr(SegmentWidget, name, noted(name, getattr(SegmentWidget, name)))
    clock.timeout.connect(tick)
    clock.start(0)
    make_napari_viewer().window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    qtbot.waitUntil(lambda: len(made) == len(parts))
    assert list(made) == list(parts) and len(set(made.values())) == len(parts)


def test_nothing_large_is_loaded_while_a_session_is_being_opened(
    make_napari_viewer: Any, qtbot: Any, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, asked, open_session = threading.Event(), [], Session.open
    monkeypatch.setattr(model_selector, "REST_MS", 1)
    monkeypatch.setattr(
        ModelSelector, "refresh", lambda lists, select=None: (lists._first.stop(), asked.append(lists))
    )
    monkeypatch.setattr(
        Session, "open", lambda *args, **options: gate.wait(60) and open_session(*args, **options)
    )
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: widget.is_opening())
    asked.clear()  # before there was a video
    widget.choices._first.start()
    qtbot.wait(100)
    assert not asked
    gate.set()
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert widget.controller.session is not None


def test_the_timeline_is_under_the_picture_from_the_beginning(segment: Any, qtbot: Any) -> None:
    qtbot.wait(20)
    window = segment.viewer.window
    window.remove_dock_widget(show_timeline(segment.viewer).parent())
    timeline = show_timeline(segment.viewer)
    dock = timeline.parent()
    assert isinstance(dock, QDockWidget)
    assert window._qt_window.dockWidgetArea(dock) == Qt.DockWidgetArea.BottomDockWidgetArea
    qtbot.waitUntil(lambda: not dock.isHidden())
    assert show_timeline(segment.viewer) is timeline
