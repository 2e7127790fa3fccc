from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vivim.settings import BY_HAND, change_settings

from napari_vivim.readers import read


def test_the_dock_opens_with_the_first_video_and_stays_closed_once_closed(
    make_napari_viewer: Callable, qtbot: Any, video: Path
) -> None:
    viewer = make_napari_viewer()
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: "Vivim Segment (napari-vivim)" in viewer.window.dock_widgets, timeout=10000)
    dock = viewer.window.dock_widgets["Vivim Segment (napari-vivim)"]
    qtbot.waitUntil(
        lambda: dock.controller is not None and dock.controller.session is not None, timeout=10000
    )
    assert dock.propose.isEnabled() and dock.isVisibleTo(dock.parent())
    dock.parent().close()
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.wait(50)
    assert not dock.isVisible()


def test_the_dock_stays_away_where_the_settings_say_so(
    make_napari_viewer: Callable, qtbot: Any, video: Path
) -> None:
    change_settings(dock=BY_HAND)
    viewer = make_napari_viewer()
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.wait(50)
    assert not viewer.window.dock_widgets


def test_a_script_without_a_window_only_reads(video: Path) -> None:
    [(data, _, _)] = read(video)
    assert len(data) == 12
