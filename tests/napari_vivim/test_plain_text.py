"""Names come from files: whatever they look like, Qt draws them as text, and reads no picture that they name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QInputDialog, QLabel, QListWidget, QMessageBox, QTableWidget, QWidget
from vivim import Vivim, VivimConfig
from vivim.errors import VideoChangedError, VivimError
from vivim.network.checkpoints import save_checkpoint
from vivim.registry.registry import models_folder

import napari_vivim
from napari_vivim.qt.napari_window import CanvasMessage
from napari_vivim.qt.notifications import ErrorBanner, show_problem
from napari_vivim.qt.plain_text import plain, plain_errors, tip
from napari_vivim.widgets import segment_widget
from napari_vivim.widgets.edit_toolbar import ClassLegend
from napari_vivim.widgets.finetune_widget import FinetuneResult, ReplayVideos
from napari_vivim.widgets.model_manager import ModelManager

EVIL = "<img src='x'>"
TEXTS = [
    EVIL,
    f"a {EVIL}",
    f"a\n{EVIL}",
    "< img src=x>",
    "<b>x",
    "<!-- x -->",
    "<?xml",
    "a < b",
    "&lt;b&gt;",
    "A & B",
]


def texts(root: QWidget) -> Iterator[tuple[QWidget, str]]:
    """Every label whose format is left to Qt or is HTML, and every tooltip that Qt takes for HTML."""
    for widget in [root, *root.findChildren(QWidget)]:
        if isinstance(widget, QLabel) and widget.textFormat() != Qt.TextFormat.PlainText:
            yield widget, widget.text()
        tips = [widget.toolTip(), widget.whatsThis(), widget.statusTip()]
        if isinstance(widget, QListWidget):
            tips += [widget.item(at).toolTip() for at in range(widget.count())]
        if isinstance(widget, QTableWidget):
            cells = [
                (row, column) for row in range(widget.rowCount()) for column in range(widget.columnCount())
            ]
            tips += [item.toolTip() for cell in cells if (item := widget.item(*cell)) is not None]
        yield from ((widget, text) for text in tips if Qt.mightBeRichText(text))


def check(root: QWidget) -> None:
    wrong = [(type(widget).__name__, text) for widget, text in texts(root) if "<img" in text]
    assert not wrong


def shown(root: QWidget) -> str:
    return "\n".join(label.text() for label in root.findChildren(QLabel))


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_left_for_qt_to_guess(text: str) -> None:
    assert not Qt.mightBeRichText(plain(text))
    assert plain(text).replace("\u2060", "") == text
    document = QTextDocument()
    document.setHtml(tip(text))
    assert Qt.mightBeRichText(tip(text)) and document.toPlainText() == text
    assert tip("a path\nof two lines") == "a path\nof two lines"


def test_the_window_of_models(qtbot: Any, vivim_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Vivim(VivimConfig(size="b0", num_classes=2, input_size=(32, 32)))
    model.classes = (EVIL, "tool")
    facts = {name: EVIL for name in ("version", "parent", "parent_version", "created", "licence")}
    save_checkpoint(model, models_folder() / f"{EVIL}.safetensors", {**facts, "learned_from": [EVIL]})
    window = ModelManager(None, EVIL, lambda: {EVIL: EVIL})
    qtbot.addWidget(window)
    qtbot.waitUntil(lambda: window._job is None, timeout=20000)
    window.table.select(EVIL)
    assert shown(window).count(EVIL) >= 4
    check(window)

    asked: list[str] = []
    monkeypatch.setattr(QInputDialog, "getText", lambda *words, **_: (asked.append(words[2]), ("", False))[1])
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: (asked.append(words[2]), QMessageBox.StandardButton.Cancel)[1]
    )
    window._rename()
    window._delete()
    assert len(asked) == 2 and all("img" in text and not Qt.mightBeRichText(text) for text in asked)
    window._on_failed(VivimError(f"{EVIL} is damaged"))
    assert window.details.text() == f"{EVIL} is damaged"
    check(window)


def test_what_came_of_a_fine_tune(qtbot: Any) -> None:
    card = FinetuneResult()
    qtbot.addWidget(card)
    rows = tuple((1, t, 0.1, 0.2) for t in range(6))
    for promoted in (True, False):
        finished = SimpleNamespace(name=EVIL, promoted=promoted, before=0.1, after=0.2, seconds=1.0)
        card.show_result(finished, SimpleNamespace(per_frame=rows), EVIL, [Path(EVIL)])
        card.taken(EVIL)
        check(card)
    assert EVIL in card.verdict.text()


def test_lists_legends_notices_and_problems(qtbot: Any, tmp_path: Path) -> None:
    replay, legend, problem = ReplayVideos(), ClassLegend(), ErrorBanner()
    for widget in (replay, legend, problem):
        qtbot.addWidget(widget)
    replay.list.clear()
    legend.show_classes(Labels(np.zeros((2, 4, 4), np.uint8)), (EVIL, "tool"))
    show_problem(VivimError(f"There is no {EVIL}"))
    assert "img" in problem.text.text()
    said = notification_manager.records[-1].message
    assert "img" in said and not Qt.mightBeRichText(said)
    for widget in (replay, legend, problem):
        check(widget)
    with pytest.raises(VivimError) as caught, plain_errors():
        raise VivimError(f"{EVIL} is gone")
    assert not Qt.mightBeRichText(caught.value.message) and str(caught.value) == f"{EVIL} is gone"
    assert issubclass(CanvasMessage, QLabel) and CanvasMessage.__mro__[1].__name__ == "PlainLabel"


@pytest.mark.parametrize("relinkable", [True, False])
def test_the_question_about_another_video(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch, relinkable: bool
) -> None:
    parent, boxes = QWidget(), []
    qtbot.addWidget(parent)
    monkeypatch.setattr(QMessageBox, "exec", lambda box: boxes.append(box))
    error = VideoChangedError("x", folder=Path(EVIL), video=Path(EVIL), relinkable=relinkable)
    segment_widget.ask_about_changed_video(parent, error)
    (box,) = boxes
    assert "img" in box.text() and "img" in box.informativeText()
    assert box.textFormat() == Qt.TextFormat.PlainText and not Qt.mightBeRichText(box.informativeText())


def test_all_docks_of_a_video_with_such_a_name(make_napari_viewer: Any, qtbot: Any, video: Path) -> None:
    folder = video.parent / EVIL
    folder.mkdir()
    evil = video.rename(folder / f"{EVIL}.mp4")
    viewer = make_napari_viewer()
    docks = [
        viewer.window.add_plugin_dock_widget("napari-vivim", name)[1]
        for name in ("Vivim Segment", "Vivim Fine-tune", "Vivim Export")
    ]
    viewer.open(str(evil), plugin="napari-vivim")
    segment = docks[0]
    qtbot.waitUntil(
        lambda: segment.controller is not None and segment.controller.session is not None, timeout=30000
    )
    qtbot.waitUntil(lambda: "img" in segment.info.toolTip(), timeout=30000)
    for dock in docks:
        check(dock.window() if dock.window() is not viewer.window._qt_window else dock)
    for widget in viewer.window._qt_window.findChildren(QWidget):
        if type(widget).__module__.startswith("napari_vivim"):
            check(widget)


def test_every_text_goes_through_these_few() -> None:
    """No label whose format Qt guesses, and no tooltip made of anything but sentences of this program or `tip`."""
    wrong = []
    for path in Path(napari_vivim.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            argument = node.args[0] if node.args else None
            if name == "QLabel" and path.stem not in ("welcome", "thumbnails"):
                wrong.append(f"{path.name}:{node.lineno}: QLabel")
            if name in ("setToolTip", "setWhatsThis", "setStatusTip") and path.stem != "timeline_legend":
                made = isinstance(argument, ast.Call) and getattr(argument.func, "id", "") == "tip"
                if not made and not isinstance(
                    argument, ast.Constant | ast.Name | ast.Attribute | ast.Subscript
                ):
                    wrong.append(f"{path.name}:{node.lineno}: {name}")
    assert not wrong
