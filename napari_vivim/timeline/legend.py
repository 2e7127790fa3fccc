"""The line above the timeline that says what its colours and signs are: as much of it as there is room for."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

SPACE = " &nbsp; "
HOW_TO = (
    "Click or drag: go there · wheel: zoom · shift-wheel, or drag the numbers: pan · double click: show all"
)


class Legend(QLabel):
    """Shows parts in a row. Those for which there is no room stand in the tooltip, which has all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(HOW_TO)

    def show_parts(self, parts: list[str]) -> None:
        """Show these, in rich text, the most needed first."""
        if parts != self._parts:
            self._parts = list(parts)
            self.setToolTip(f"<p style='white-space:pre'>{SPACE.join(parts)}</p><p>{HOW_TO}</p>")
            self._fit()

    def resizeEvent(self, event: Any) -> None:
        """There is more or less room now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        shown = list(self._parts)
        self.setText(SPACE.join(shown))
        while len(shown) > 1 and self.sizeHint().width() > self.width():
            shown.pop()
            self.setText(SPACE.join(shown))
