"""The table of models: a row a version, newest first, with a button to use it."""

from collections.abc import Sequence
from datetime import datetime

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from vivim.registry.info import ModelInfo, origin

from napari_vivim.qt.components import Quiet, plural

COLUMNS = ("Name", "Made from", "Made", "Learned from", "Held-out Dice", "")
USE_WIDTH = 84
NOTHING = "–"


class ModelsTable(QTableWidget):
    """Shows `models` once `fill` is called."""

    use = Signal(str)
    """The person wants this model to be used from now on."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.models: Sequence[ModelInfo] = ()
        self.setHorizontalHeaderLabels(list(COLUMNS))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setStyleSheet(
            "QTableWidget::item { padding: 0 8px; } QHeaderView::section { padding: 3px 8px; }"
        )
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None and header is not None
        rows.hide()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(len(COLUMNS) - 1, QHeaderView.ResizeMode.Fixed)
        self.setColumnWidth(len(COLUMNS) - 1, USE_WIDTH)
        self.cellDoubleClicked.connect(self._on_double_click)

    @property
    def selected(self) -> ModelInfo | None:
        """The model of the marked row."""
        at = self.currentRow()
        return self.models[at] if 0 <= at < len(self.models) else None

    def select(self, name: str) -> None:
        """Mark the row of a model."""
        names = [info.name for info in self.models]
        if name in names:
            self.selectRow(names.index(name))

    def parent_of(self, info: ModelInfo) -> ModelInfo | None:
        """The version that a model was made from, if that is still there."""
        return origin(info.parent_version, info.parent, self.models) if info.parent else None

    def fill(self, in_use: str, default: str) -> None:
        """Show all models, with the one in use in bold."""
        self.setRowCount(len(self.models))
        for at, info in enumerate(self.models):
            for column, text in enumerate(self._texts(info, default)):
                item = QTableWidgetItem(text)
                font = item.font()
                font.setBold(info.name == in_use)
                item.setFont(font)
                self.setItem(at, column, item)
            former = self.cellWidget(at, len(COLUMNS) - 1)
            if former is not None:  # it may be the one just clicked, which Qt deletes only later
                former.hide()
            self.setCellWidget(at, len(COLUMNS) - 1, self._choice(info, info.name == in_use))

    def _on_double_click(self, row: int, column: int) -> None:
        if usable(self.models[row]):
            self.use.emit(self.models[row].name)

    def _choice(self, info: ModelInfo, used: bool) -> QWidget:
        if used:
            label = Quiet("in use")
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            return label
        button = QPushButton("Use")
        button.setToolTip("Take this model from now on; what is corrected stays")
        button.setAutoDefault(False)
        button.setEnabled(usable(info))
        button.clicked.connect(lambda: self.use.emit(info.name))
        return button

    def _texts(self, info: ModelInfo, default: str) -> tuple[str, ...]:
        name = f"{info.name}  (default)" if info.name == default else info.name
        parent = self.parent_of(info)
        made_from = parent.name if parent else f"{info.parent} (deleted)" if info.parent else NOTHING
        learned = NOTHING
        if info.frames:
            learned = f"{plural(info.frames, 'frame')} of {plural(info.sessions or 1, 'video')}"
        return name, made_from, _when(info.created), learned, _scores(info)


def usable(info: ModelInfo) -> bool:
    """Whether a model can be used. The file of a damaged one does not name its classes."""
    return bool(info.classes)


def _when(created: str | None) -> str:
    """A time (UTC, ISO 8601) in the person's own zone."""
    if not created:
        return NOTHING
    try:
        return f"{datetime.fromisoformat(created).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return created


def _scores(info: ModelInfo) -> str:
    if info.before is None or info.after is None:
        return NOTHING
    return f"{info.before:.3f} → {info.after:.3f}"
