"""The lists of models and devices, which are asked for beside the window."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtWidgets import QComboBox

from napari_vivim.background.worker import Worker
from napari_vivim.widgets.model_selector import ModelSelector, isalive


def test_an_answer_that_comes_when_the_list_is_gone_is_passed_over(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "submit", lambda worker, job: job)  # nobody answers until the test does
    models = QComboBox()
    lists = ModelSelector(models, QComboBox(models))
    lists.refresh()
    earlier = lists._job
    assert earlier is not None
    lists.refresh()
    models.deleteLater()
    qtbot.waitUntil(lambda: not isalive(models))
    earlier.event.emit(([], ["cpu"], "starter", "auto"))
