"""The window of models: what it lists, that each button does it, and that questions are asked before harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QPushButton
from vivim import Vivim, VivimConfig
from vivim.registry import registry

from napari_vivim.widgets.model_manager import ModelManager


def used(window: ModelManager) -> list[int]:
    """Rows that offer no button because the model is in use."""
    rows = range(window.table.rowCount())
    return [at for at in rows if not isinstance(window.table.cellWidget(at, 5), QPushButton)]


@pytest.fixture(scope="module")
def network() -> Vivim:
    torch.manual_seed(0)
    return Vivim(VivimConfig(size="b0", input_size=(32, 32), guided=True))


@pytest.fixture
def window(qtbot: Any, network: Vivim, vivim_home: Path) -> ModelManager:
    """Three versions: the starter, "first" made from it, and "second" made from "first", which is in use."""
    first = registry.save_version(network, "first", {"parent": "starter", "frames": 5, "sessions": 1})
    facts = {"parent": "first", "parent_version": first.version, "frames": 12, "sessions": 2}
    scores = {"before": 0.61, "after": 0.82, "learned_from": ["0123456789ab", "ba9876543210"]}
    with torch.no_grad():
        network.decoder.classify.bias += 1
    registry.save_version(network, "second", facts | scores)
    window = ModelManager(None, "second", lambda: {"0123456789ab": "scan"})
    qtbot.addWidget(window)
    wait(qtbot, window)
    return window


def wait(qtbot: Any, window: ModelManager) -> None:
    qtbot.waitUntil(lambda: window._job is None, timeout=20000)


def rows(window: ModelManager) -> list[list[str]]:
    return [
        [window.table.item(at, column).text() for column in range(5)] for at in range(window.table.rowCount())
    ]


def test_it_lists_what_is_known(window: ModelManager) -> None:
    listed = rows(window)
    assert [row[0] for row in listed] == ["second", "first", "starter  (default)"]
    assert [row[1] for row in listed] == ["first", "starter", "–"]
    assert [row[3] for row in listed] == ["12 frames of 2 videos", "5 frames of 1 video", "–"]
    assert [row[4] for row in listed] == ["0.610 → 0.820", "–", "–"]
    assert window.table.selected is not None and window.table.selected.name == "second"
    assert "scan (0123456789ab), ba9876543210" in window.details.text()
    window.table.select("starter")
    assert not window.rename.isEnabled() and not window.delete.isEnabled() and window.export.isEnabled()


def test_one_click_goes_back_to_an_earlier_version(window: ModelManager, qtbot: Any) -> None:
    with qtbot.waitSignal(window.chosen) as signal:
        window.table.cellWidget(1, 5).click()
    assert signal.args == ["first"]
    assert used(window) == [1]
    window.set_in_use("starter")
    assert used(window) == [2]


def test_renaming_and_deleting_keep_the_children(window: ModelManager, qtbot: Any, monkeypatch) -> None:
    asked: list[str] = []
    answers = [QMessageBox.StandardButton.Cancel, QMessageBox.StandardButton.Yes]

    def question(parent: Any, title: str, text: str, *_: Any) -> QMessageBox.StandardButton:
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("liver", True))
    monkeypatch.setattr(QMessageBox, "question", question)
    window.table.select("first")
    window.rename.click()
    wait(qtbot, window)
    assert [row[:2] for row in rows(window)][:2] == [["second", "liver"], ["liver", "starter"]]
    window.table.select("liver")
    window.delete.click()
    assert "kept: second" in asked[0] and len(registry.list_models()) == 3
    window.delete.click()
    wait(qtbot, window)
    assert rows(window)[0][1] == "first (deleted)"
    assert registry.load_model("second").name == "second"


def test_deleting_what_is_in_use_falls_back_to_the_default(
    window: ModelManager, qtbot: Any, monkeypatch
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    window.table.select("first")
    window.default.click()
    wait(qtbot, window)
    assert registry.default_model_name() == "first"
    window.table.select("second")
    with qtbot.waitSignal(window.chosen) as signal:
        window.delete.click()
    assert signal.args == ["first"]
    wait(qtbot, window)


def test_a_file_goes_out_and_comes_in_after_a_check(
    window: ModelManager, qtbot: Any, monkeypatch, tmp_path: Path
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        "napari_vivim.widgets.model_manager.show_problem", lambda error: shown.append(str(error))
    )
    file = tmp_path / "shared.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(file.with_suffix("")), ""))
    window.table.select("second")
    window.export.click()
    wait(qtbot, window)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(file), ""))
    window.take.click()
    wait(qtbot, window)
    assert window.table.selected is not None and window.table.selected.name == "shared"
    file.write_bytes(file.read_bytes()[:1000])
    window.take.click()
    wait(qtbot, window)
    assert len(shown) == 1 and "damaged" in shown[0]
    assert len(window.table.models) == 4


def test_a_version_for_several_classes(window: ModelManager, qtbot: Any, monkeypatch) -> None:
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("fold, glottis", True))
    window.table.select("first")
    window.classes.click()
    wait(qtbot, window)
    assert window.table.selected is not None and window.table.selected.name == "first-classes"
    assert "Classes: fold, glottis" in window.details.text()


def test_the_window_ends_its_thread(window: ModelManager, qtbot: Any) -> None:
    window.reject()
    qtbot.waitUntil(lambda: not window._worker._thread.is_alive(), timeout=5000)


def test_a_double_click_takes_a_model_but_no_damaged_one(
    window: ModelManager, qtbot: Any, vivim_home: Path
) -> None:
    chosen: list[str] = []
    window.chosen.connect(chosen.append)
    damaged = next(info.path for info in registry.list_models() if info.name == "first")
    damaged.write_bytes(b"damaged")
    window._do("Reading ...", lambda: None)
    wait(qtbot, window)
    names = [info.name for info in window.table.models]
    window.table.cellDoubleClicked.emit(names.index("first"), 0)
    assert chosen == []
    window.table.cellDoubleClicked.emit(names.index("starter"), 0)
    assert chosen == ["starter"]
