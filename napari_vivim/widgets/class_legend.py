"""A legend of the classes, which chooses the class of the brush."""

from collections.abc import Sequence
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QToolButton, QWidget

from napari_vivim.qt.components import column, subheading
from napari_vivim.qt.plain_text import tip

COLUMNS = 2
SWATCH = 12
"""Side of a colour's square, in pixels."""


class ClassLegend(QWidget):
    """A square and a name for each class, and a click chooses the brush's. Hidden for one class."""

    def __init__(self) -> None:
        super().__init__()
        lines = column(self, 2)
        lines.addWidget(subheading("Paint as"))
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        lines.addLayout(self._grid)
        self._group = QButtonGroup(self)
        self.setStyleSheet(
            "QToolButton { border: 1px solid transparent; border-radius: 3px; padding: 1px 4px; }"
            "QToolButton:checked { border-color: #8a94a0; font-weight: 600; }"
        )
        self._masks: Labels | None = None
        self.hide()

    def show_classes(self, masks: Labels | None, names: Sequence[str]) -> None:
        """Show the classes of a masks layer."""
        if self._masks is not None:
            self._masks.events.selected_label.disconnect(self._mark)
        self._masks = masks
        for button in self._group.buttons():
            self._group.removeButton(button)
            button.deleteLater()
        several = masks is not None and len(names) > 1
        self.setVisible(several)
        if masks is None or not several:
            return
        for label, name in enumerate(names, start=1):
            button = self._button(label, name, masks)
            self._group.addButton(button, label)
            self._grid.addWidget(button, (label - 1) // COLUMNS, (label - 1) % COLUMNS)
        masks.events.selected_label.connect(self._mark)
        self._mark()

    def _button(self, label: int, name: str, masks: Labels) -> QToolButton:
        button = QToolButton()
        square = QPixmap(SWATCH, SWATCH)
        square.fill(QColor.fromRgbF(*(float(part) for part in masks.get_color(label)[:3])))
        button.setIcon(QIcon(square))
        button.setText(f" {name}")
        button.setToolTip(tip(f"Paint “{name}”: label {label} of the masks layer"))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setCheckable(True)
        button.setAutoRaise(True)
        button.setSizePolicy(button.sizePolicy().Policy.Expanding, button.sizePolicy().Policy.Fixed)
        button.clicked.connect(lambda: setattr(masks, "selected_label", label))
        return button

    def _mark(self, event: Any = None) -> None:
        """Show which class the brush paints."""
        chosen = self._group.button(self._masks.selected_label) if self._masks is not None else None
        if chosen is not None:
            chosen.setChecked(True)
