"""The window of models: every version with its parent, its scores and its actions."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QFileDialog,
    QHeaderView,
    QInputDialog,
    QMessageBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from vivim.registry import registry
from vivim.registry.info import ModelInfo, origin, session_key
from vivim.registry.registry import STARTER, SUFFIX

from napari_vivim.background.worker import Job, Worker
from napari_vivim.qt.components import Quiet, button, plural, row
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import PlainLabel, plain

FILES = "Models (*.safetensors *.ckpt *.pth *.pt);;All files (*)"
EMPTY = "Fine-tuning adds a version here each time; nothing is ever overwritten."
COLUMNS = ("Name", "Made from", "Made", "Learned from", "Held-out Dice", "")
USE_WIDTH = 84
NOTHING = "–"


class ModelManager(QDialog):
    """Lists the models, and reads and writes their files in a thread of its own.

    ``videos()`` maps the keys of videos that are open (`vivim.registry.info.session_key`) to what they are called here.
    """

    chosen = Signal(str)
    """The person wants this model to be used from now on."""
    changed = Signal()
    """Models were added, removed or renamed, or another is the default."""

    def __init__(
        self,
        parent: QWidget | None = None,
        in_use: str = STARTER,
        videos: Callable[[], dict[str, str]] = dict,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Models of Vivim")
        self.resize(960, 460)
        self._in_use, self._videos = in_use, videos
        self._default = STARTER
        self._worker = Worker("vivim-models")
        self._job: Job | None = None
        self.table = ModelsTable()
        self.table.itemSelectionChanged.connect(self._describe)
        self.table.use.connect(self._use)
        self.details = Quiet()
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details.setMinimumHeight(84)
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.state = PlainLabel()
        self.default = button("Set as default", "Offer this model first from now on", self._set_default)
        self.rename = button("Rename ...", "Give it another name; versions made from it follow", self._rename)
        self.export = button("Export ...", "Copy it to a file, to give it to somebody", self._export)
        self.classes = button(
            "Classes ...",
            "Make a version that can learn several classes, such as tissue and tool",
            self._widen,
        )
        self.delete = button(
            "Delete ...", "Delete its file; versions made from it keep working", self._delete
        )
        self.take = button(
            "Import ...", "Add a model file, of this program or of the reference, after a check", self._import
        )
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.details)
        own = (self.default, self.rename, self.classes, self.export, self.delete)
        for one in (*own, self.take):
            one.setAutoDefault(False)
        buttons = row(*own, self.state, self.take)
        buttons.setStretch(len(own), 1)
        layout.addLayout(buttons)
        self.finished.connect(lambda: self._worker.close())
        self._do("Reading ...", lambda: None)

    # -- what the person does -------------------------------------------------------------------------------------

    def set_in_use(self, name: str) -> None:
        """Show that another model was chosen."""
        if name in [info.name for info in self.table.models] and name != self._in_use:
            self._in_use = name
            marked = self.table.selected
            self.table.fill(self._in_use, self._default)
            self.table.select(marked.name if marked else name)

    def _use(self, name: str) -> None:
        self.set_in_use(name)
        self.chosen.emit(name)

    def _set_default(self) -> None:
        if (info := self.table.selected) is not None:
            self._do("Setting ...", lambda: registry.set_default_model(info.name), select=info.name)

    def _rename(self) -> None:
        info = self.table.selected
        if info is None:
            return
        question = plain(f"New name of “{info.name}”:")
        name, agreed = QInputDialog.getText(self, "Rename", question, text=info.name)
        if agreed and name.strip() and name != info.name:
            self._do(
                "Renaming ...", lambda: registry.rename_model(info.name, name.strip()).name, was=info.name
            )

    def _widen(self) -> None:
        info = self.table.selected
        if info is None:
            return
        question = "All classes, with commas between, in the order of their labels 1, 2, ...:"
        text, agreed = QInputDialog.getText(self, "Classes", question, text=", ".join(info.classes))
        names = [name.strip() for name in text.split(",")]
        if agreed and tuple(names) != info.classes:
            new_name = f"{info.name}-classes"
            self._do("Making it ...", lambda: registry.add_classes(info.name, names, new_name).name)

    def _export(self) -> None:
        info = self.table.selected
        if info is None:
            return
        target = QFileDialog.getSaveFileName(self, "Export", f"{info.name}{SUFFIX}", f"Model (*{SUFFIX})")[0]
        if target:
            path = Path(target).with_suffix(SUFFIX)
            self._do("Copying ...", lambda: str(registry.export_model(info.name, path, overwrite=True)))

    def _delete(self) -> None:
        info = self.table.selected
        if info is None:
            return
        children = [other.name for other in self.table.models if self.table.parent_of(other) is info]
        kept = f" Made from it, and kept: {', '.join(children)}." if children else ""
        answer = QMessageBox.question(
            self,
            "Delete a model",
            plain(f"Delete “{info.name}” for good?{kept} Export it first if you may want it back."),
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.Cancel,
            QMessageBox.StandardButton.Cancel,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._do("Deleting ...", lambda: registry.remove_model(info.name), was=info.name)

    def _import(self) -> None:
        source = QFileDialog.getOpenFileName(self, "Import a model", filter=FILES)[0]
        if source:
            self._do("Checking the file ...", lambda: registry.import_model(source).name)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _do(self, text: str, work: Callable[[], str | None], select: str = "", was: str = "") -> None:
        """Work with files in the background, then list the models again.

        `work` may say which model to mark; `was` is the model that it renames or removes: where that was in use, the
        one it became, or the default, takes its place.
        """
        if self._job is not None:
            return
        wanted = select or (self.table.selected.name if self.table.selected else self._in_use)

        def steps() -> Iterator[tuple[str, list[ModelInfo], str, str | None]]:
            try:
                made = work()
            finally:
                models, default = registry.list_models(), registry.default_model_name()
            yield (made if made in [info.name for info in models] else wanted), models, default, made

        def listed(found: tuple[str, list[ModelInfo], str, str | None]) -> None:
            mark, models, self._default, made = found
            self.table.models = models[::-1]
            if was and was == self._in_use:
                self._in_use = made or self._default
                self.chosen.emit(self._in_use)
            self.table.fill(self._in_use, self._default)
            self.table.select(mark if any(info.name == mark for info in models) else self._in_use)
            self.changed.emit()

        self._job = Job(steps)
        self._job.event.connect(listed)
        self._job.failed.connect(self._on_failed)
        self._job.ended.connect(self._on_ended)
        self.state.setText(text)
        self._enable()
        self._worker.submit(self._job)

    def _on_failed(self, error: Exception) -> None:
        """Show the error here too, because the notification is in the window behind."""
        show_problem(error)
        self.details.setText(str(error))

    def _on_ended(self, finished: bool) -> None:
        self._job = None
        self.state.clear()
        self._enable()

    def _describe(self) -> None:
        self._enable()
        info = self.table.selected
        if info is None:
            self.details.setText(EMPTY)
            return
        lines = [info.description + (f" · version {info.version}" if info.version else "")]
        if len(info.classes) > 1:
            lines.append(f"Classes: {', '.join(info.classes)}")
        if info.learned_from:
            known = self._videos()
            videos = [f"{known[key]} ({key})" if key in known else key for key in info.learned_from]
            lines.append(f"Learned from video{'s' if len(videos) > 1 else ''} {', '.join(videos)}")
        if info.licence:
            lines.append(f"Licence: {info.licence}")
        lines.append(str(info.path))
        self.details.setText("\n".join(lines))

    def _enable(self) -> None:
        info, idle = self.table.selected, self._job is None
        own = idle and info is not None and info.name != STARTER
        self.rename.setEnabled(own)
        self.delete.setEnabled(own)
        for one in (self.export, self.classes):
            one.setEnabled(idle and info is not None and usable(info))
        self.default.setEnabled(idle and info is not None and info.name != self._default)
        self.take.setEnabled(idle)


def names_of_videos(controllers: list[Any]) -> dict[str, str]:
    """The names of open videos, by their key in a model's history."""
    return {session_key(one.session): one.layer.name for one in controllers if one.session is not None}


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
        judged = info.before is not None and info.after is not None
        scores = f"{info.before:.3f} → {info.after:.3f}" if judged else NOTHING
        return name, made_from, _when(info.created), learned, scores


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
