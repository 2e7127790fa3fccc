"""Parts that the docks share."""

from __future__ import annotations

from typing import Any

from napari_vivim.looks import Progress


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
