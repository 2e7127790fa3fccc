"""Parts that the docks share."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_vivim.qt.components import Progress


def test_steps_in_quick_succession_are_not_all_shown_but_the_last_one_is(qtbot: Any) -> None:
    progress, shown = Progress(), []
    qtbot.addWidget(progress)
    progress.bar.valueChanged.connect(shown.append)
    progress.busy("Starting ...")
    for done in range(1, 501):
        progress.show_step(done, 500, f"{done} of 500")
    assert shown[0] == 1 and shown[-1] == 500 and len(shown) < 50
    assert progress.text.text() == "500 of 500"
    progress.busy("Starting ...")
    progress.show_step(1, 500, "1 of 500")
    assert progress.text.text() == "1 of 500"


def test_the_latest_of_quick_steps_is_shown_a_little_later_and_a_note_at_once(qtbot: Any) -> None:
    progress = Progress()
    qtbot.addWidget(progress)
    progress.busy("Starting ...")
    for done in (1, 2, 3):
        progress.show_step(done, 9, f"{done} of 9")
    assert progress.text.text() == "1 of 9"
    qtbot.waitUntil(lambda: progress.text.text() == "3 of 9" and progress.bar.value() == 3, timeout=2000)
    progress.show_step(4, 9, "4 of 9", "waiting for the server")
    assert progress.text.text() == "4 of 9 · waiting for the server"
    progress.show_step(5, 9, "5 of 9")
    progress.say("Stopping ...")
    qtbot.wait(300)
    assert progress.text.text() == "Stopping ..."


class Draws(QObject):
    """Notes when something is drawn."""

    def __init__(self, watched: QWidget) -> None:
        super().__init__(watched)
        self.count = 0
        watched.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        self.count += event is not None and event.type() == QEvent.Type.Paint
        return False


def test_a_step_draws_nothing_at_once(qtbot: Any) -> None:
    progress = Progress()
    qtbot.addWidget(progress)
    with qtbot.waitExposed(progress):
        progress.show()
    qtbot.wait(50)
    draws = Draws(progress.bar)
    for done in (1, 20):
        progress.show_step(done, 40, f"{done} of 40", note="a note, shown without waiting")
    assert progress.bar.value() == 20 and draws.count == 0
    qtbot.waitUntil(lambda: draws.count == 1, timeout=2000)
