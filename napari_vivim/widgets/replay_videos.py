"""Sessions of other videos to learn from, so that a model does not forget them."""

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QPushButton, QWidget

from napari_vivim.qt.components import column
from napari_vivim.qt.plain_text import tip

ROWS = 3
"""Sessions shown at once. More can be scrolled to."""


class ReplayVideos(QWidget):
    """A list of session folders with ticks. Hidden while it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.list = QListWidget()
        self.list.setToolTip("Corrected and accepted frames of the ticked videos are learned from as well")
        self.list.hide()
        self._without: Path | None = None
        self.add = QPushButton("Also learn from ...")
        self.add.setToolTip(
            "Choose the .vivim folder of another video: its corrected frames keep the model from forgetting it,\n"
            "and scores are then of whole videos held out"
        )
        self.add.clicked.connect(self._choose)
        layout = column(self)
        layout.addWidget(self.list)
        layout.addWidget(self.add)

    def add_folder(self, folder: Path) -> None:
        """List a session folder and tick it."""
        for item in self._items():
            if item.data(Qt.ItemDataRole.UserRole) == str(folder):
                item.setCheckState(Qt.CheckState.Checked)
                return
        self._list_one(folder, Qt.CheckState.Checked)
        self._fit()

    def offer(self, folders: Iterable[Path], without: Path | None = None) -> None:
        """List new folders without a tick, and hide `without`, which is learned from anyway."""
        known = {item.data(Qt.ItemDataRole.UserRole) for item in self._items()}
        self._without = without
        for folder in folders:
            if str(folder) not in known:
                self._list_one(folder, Qt.CheckState.Unchecked)
        self._fit()

    def _list_one(self, folder: Path, state: Qt.CheckState) -> None:
        item = QListWidgetItem(folder.name.removesuffix(".vivim"))
        item.setData(Qt.ItemDataRole.UserRole, str(folder))
        item.setToolTip(tip(str(folder)))
        item.setCheckState(state)
        self.list.addItem(item)

    def _fit(self) -> None:
        """Make the list as high as its rows, up to `ROWS`."""
        for item in self._items():
            item.setHidden(item.data(Qt.ItemDataRole.UserRole) == str(self._without))
        count = sum(not item.isHidden() for item in self._items())
        height = self.list.sizeHintForRow(0) * min(ROWS, count)
        self.list.setFixedHeight(height + 2 * self.list.frameWidth() + 2)
        self.list.setVisible(count > 0)

    def folders(self, without: Path | None = None) -> list[Path]:
        """The ticked folders, except `without`, which is learned from anyway."""
        ticked = (item for item in self._items() if item.checkState() == Qt.CheckState.Checked)
        chosen = (Path(item.data(Qt.ItemDataRole.UserRole)) for item in ticked)
        return [folder for folder in chosen if without is None or folder.resolve() != without.resolve()]

    def _items(self) -> list[QListWidgetItem]:
        return [item for i in range(self.list.count()) if (item := self.list.item(i)) is not None]

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "The work on another video (a folder ending in .vivim)"
        )
        if chosen:
            self.add_folder(Path(chosen))
