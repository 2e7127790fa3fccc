"""The settings in the window: a dialog for all of them, and changes seen at once, whoever made them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from vivim.registry.registry import add_classes
from vivim.settings import Settings, about, change_settings, settings

from napari_vivim.qt.napari_window import main_window
from napari_vivim.widgets import preferences
from napari_vivim.widgets.preferences import SettingsDialog


def test_the_dialog_shows_every_setting_that_has_no_window_of_its_own(segment: Any) -> None:
    segment.open_preferences.click()
    (dialog,) = main_window(segment.viewer).findChildren(SettingsDialog)
    assert dialog.isVisibleTo(main_window(segment.viewer))
    assert {one.name for one in fields(Settings)} - set(dialog.inputs) == {"default_model", "reader"}
    assert all(dialog.inputs[name].tooltip == about(name).help for name in dialog.inputs)
    dialog.reject()


def test_settings_are_changed_at_once_or_not_at_all(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(preferences, "show_warning", said.append)
    change_settings(opacity=70)
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    assert dialog.inputs["opacity"].value == 70
    dialog.inputs["device"].value = "cpu"
    dialog.inputs["own_colors"].value = "green"
    dialog.accept()
    assert said and settings() == Settings(opacity=70)
    dialog.inputs["own_colors"].value = "#00ff00"
    dialog.accept()
    assert settings() == Settings(opacity=70, device="cpu", own_colors="#00ff00")
    dialog._restore()
    dialog.accept()
    assert settings() == Settings()


def test_colours_and_the_list_of_models_follow_at_once(segment: Any, qtbot: Any) -> None:
    masks = segment.controller.masks
    before = masks.get_color(1).copy()
    masks.outline(False)  # outlines are opaque
    change_settings(own_colors="#0000ff", opacity=90)
    segment.preferences.refresh()
    qtbot.waitUntil(lambda: tuple(masks.get_color(1)[:3]) == (0, 0, 1))
    assert tuple(before[:3]) != (0, 0, 1)
    assert masks.opacity == pytest.approx(0.9)


def test_classes_are_named_in_the_layer_and_the_legend_chooses_the_brush(segment: Any, qtbot: Any) -> None:
    controller = segment.controller
    controller.session.name_classes(("fold", "glottis", "tool"))
    controller._name_classes()
    assert list(controller.masks.features["class"]) == ["background", "fold", "glottis", "tool"]
    buttons = segment.classes._group.buttons()
    buttons[2].click()
    assert controller.masks.selected_label == 3
    controller.masks.selected_label = 1
    assert buttons[0].isChecked()


def test_models_are_opened_from_the_panel(segment: Any, qtbot: Any) -> None:
    from napari_vivim.widgets.model_manager import ModelManager

    segment.models.click()
    (window,) = [w for w in segment.window().findChildren(ModelManager)]
    qtbot.waitUntil(lambda: window._job is None, timeout=10000)
    assert window.table.selected is not None and window.table.selected.name == "starter"
    window._do("", lambda: add_classes("starter", ["fold", "glottis"], "two").name)
    qtbot.waitUntil(lambda: segment.model.findText("two") >= 0, timeout=10000)
    window.table.cellWidget(0, 5).click()
    qtbot.waitUntil(lambda: segment.model.currentText() == "two", timeout=10000)
    window.close()


def test_a_share_that_does_not_answer_holds_no_window(
    segment: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    window_thread, answer, asked = threading.get_ident(), threading.Event(), []
    real = preferences.read_settings

    def stalled() -> Any:
        asked.append(threading.get_ident())
        if threading.get_ident() != window_thread:
            answer.wait(60)
        return real()

    monkeypatch.setattr(preferences, "read_settings", stalled)
    qtbot.waitUntil(lambda: segment.preferences._job is None)
    segment.controller.masks.outline(False)  # outlines are opaque
    change_settings(opacity=90)
    segment.preferences.refresh()
    qtbot.waitUntil(lambda: bool(asked))
    segment.controller.masks.paint((3, 30, 30), 1)  # the window goes on
    answer.set()
    qtbot.waitUntil(lambda: segment.controller.masks.opacity == pytest.approx(0.9))
    assert window_thread not in asked


def test_a_data_folder_that_cannot_be_written_leaves_the_dock_whole(
    make_napari_viewer: Callable, qtbot: Any, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VIVIM_HOME", str(tmp_path / "file" / "home"))
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: dock.controller is not None and dock.controller.session is not None)
    assert dock.content.isAncestorOf(dock.open_preferences)
    dock.controller.masks.paint((3, 30, 30), 1)
    assert dock.controller.session.status(3) == "corrected"
