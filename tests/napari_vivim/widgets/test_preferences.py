"""The settings in the window: page and file in step, whoever changed which; changes seen at once; a dialog of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import napari.settings
import pytest
import yaml
from qtpy.QtWidgets import QListWidget
from vivim.registry.registry import add_classes
from vivim.settings import Settings, about, change_settings, settings, vivim_home

import napari_vivim
from napari_vivim.qt.napari_window import main_window
from napari_vivim.widgets import preferences
from napari_vivim.widgets.preferences import GROUPS, Preferences, SettingsDialog, napari_page, shown

MANIFEST = Path(napari_vivim.__file__).with_name("napari.yaml")
has_page = pytest.mark.skipif(
    not hasattr(napari.settings, "get_plugin_settings"), reason="this napari has no page for plugins"
)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    """napari's page, and no waiting for somebody who types."""
    monkeypatch.setattr(preferences, "QUIET_MS", 0)
    return napari_page()


@pytest.fixture
def linked(qtbot: Any) -> Iterator[Callable[[], Preferences]]:
    """Makes links that end with the test."""
    made: list[Preferences] = []

    def make() -> Preferences:
        made.append(Preferences())
        return made[-1]

    yield make
    for one in made:
        with suppress(RuntimeError):  # the test has ended it
            one.deleteLater()
    qtbot.wait(10)


def test_the_manifest_says_what_the_settings_say() -> None:
    declared = yaml.safe_load(MANIFEST.read_text("utf-8"))["contributions"]["configurations"]
    kinds = {str: "string", int: "integer"}
    defaults = {one.name: one.default for one in fields(Settings)}
    for group, names in shown().items():
        assert declared[group]["title"] == GROUPS[group]
        assert list(declared[group]["properties"]) == names
        for name, values in declared[group]["properties"].items():
            limits = about(name)
            expected = {"title": limits.title, "description": limits.help, "default": defaults[name]}
            expected["type"] = kinds[type(defaults[name])]
            optional = {"minimum": limits.minimum, "maximum": limits.maximum, "enum": list(limits.choices)}
            expected |= {key: value for key, value in optional.items() if value not in (None, [])}
            assert values == expected
    assert set(defaults) - {name for names in shown().values() for name in names} == {"default_model"}


@has_page
def test_page_and_file_stay_in_step(page: Any, linked: Any, qtbot: Any) -> None:
    change_settings(clip_length=12)
    link = linked()
    qtbot.waitUntil(lambda: page.inference.clip_length == 12, timeout=5000)
    with qtbot.waitSignal(link.changed, timeout=5000):
        page.display.opacity = 80
    assert settings() == Settings(clip_length=12, opacity=80)
    with qtbot.waitSignal(link.changed, timeout=5000):
        change_settings(opacity=30)  # as another program does
    qtbot.waitUntil(lambda: page.display.opacity == 30, timeout=5000)


@has_page
def test_what_was_changed_on_the_page_while_nobody_listened_is_taken_over(
    page: Any, linked: Any, qtbot: Any
) -> None:
    first = linked()
    qtbot.waitUntil(lambda: (vivim_home() / preferences.SEEN).exists(), timeout=5000)
    first.deleteLater()
    qtbot.wait(10)
    page.inference.batch_limit = 4
    change_settings(clip_length=10)
    second = linked()
    qtbot.waitUntil(lambda: page.inference.clip_length == 10, timeout=5000)
    assert second is not None and page.inference.batch_limit == 4
    assert settings() == Settings(clip_length=10, batch_limit=4)


@has_page
def test_what_cannot_be_is_said_and_changes_nothing(page: Any, linked: Any, qtbot: Any, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(preferences, "show_warning", said.append)
    link = linked()
    page.display.own_colors = "green"
    qtbot.waitUntil(lambda: bool(said), timeout=5000)
    assert "'green' is not a colour" in said[0]
    assert settings() == Settings() and link is not None


@has_page
@pytest.mark.filterwarnings("error:Private attribute access:FutureWarning")
def test_the_button_opens_the_page_of_this_plugin(segment: Any, page: Any) -> None:
    segment.open_preferences.click()
    pages = main_window(segment.viewer).findChild(QListWidget, preferences.PAGES)
    assert pages.currentItem().text() == preferences.DISPLAY_NAME
    pages.window().reject()


def test_without_a_page_the_button_opens_a_dialog(segment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferences, "napari_page", lambda: None)
    segment.open_preferences.click()
    dialog = main_window(segment.viewer).findChild(SettingsDialog)
    assert dialog.isVisibleTo(main_window(segment.viewer))
    dialog.reject()


def test_the_dialog_for_an_older_napari(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
    change_settings(own_colors="#0000ff", opacity=90)
    segment.preferences.refresh()
    qtbot.waitUntil(lambda: tuple(masks.get_color(1)[:3]) == (0, 0, 1))
    assert tuple(before[:3]) != (0, 0, 1)
    assert masks.opacity == pytest.approx(0.9)


def test_classes_are_named_in_the_layer_and_the_legend_chooses_the_brush(segment: Any, qtbot: Any) -> None:
    controller = segment.controller
    assert segment.classes.isHidden()
    controller.session.name_classes(("fold", "glottis", "tool"))
    controller._name_classes()
    assert not segment.classes.isHidden()
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


@has_page
def test_settings_in_step_are_not_written_again_and_again(page: Any, linked: Any, qtbot: Any) -> None:
    link, seen = linked(), vivim_home() / preferences.SEEN
    qtbot.waitUntil(lambda: seen.exists() and link._keeping.over.is_set(), timeout=5000)
    written, kept = seen.stat().st_ino, link._keeping
    qtbot.waitUntil(lambda: link._job is None)
    link.refresh()
    qtbot.waitUntil(lambda: link._keeping is not kept and link._keeping.over.is_set())
    assert seen.stat().st_ino == written


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
    said: list[str] = []
    monkeypatch.setattr(preferences, "show_warning", said.append)
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-vivim", "Vivim Segment")
    viewer.open(str(video), plugin="napari-vivim")
    qtbot.waitUntil(lambda: dock.controller is not None and dock.controller.session is not None)
    assert dock.body.indexOf(dock.open_preferences) > 0
    if napari_page() is not None:
        qtbot.waitUntil(lambda: any("VIVIM_HOME" in text for text in said))
    dock.controller.masks.paint((3, 30, 30), 1)
    assert dock.controller.session.status(3) == "corrected"
