"""Who works on the video, and what is said of the frame on screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QResizeEvent
from qtpy.QtWidgets import QInputDialog, QLabel, QLineEdit, QMenu, QPushButton, QSizePolicy, QWidget
from vivim.errors import SessionError
from vivim.session import Session
from vivim.session.migrations import DEFAULT
from vivim.session.review import IGNORE, NO_LESION
from vivim.settings import settings

from napari_vivim.background.worker import in_background
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import column, row
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import plain, tip

READER_TIP = (
    "Whose masks these are. Each reader has masks of their own, and sees none of the others'.\n"
    "Type a name and press Enter to go on as that reader."
)
TAGS_TIP = "Say something about this frame: 'ignore' keeps it out of training, scores and suggestions"
USUAL = (IGNORE, "unusable", "uncertain")
ARROW = 32
"""Pixels of the button that its text cannot have."""


class ReaderField(QWidget):
    """The name of the reader, to be typed. No other reader is named, so that each reads blind."""

    def __init__(self) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.name.setToolTip(READER_TIP)
        self.name.returnPressed.connect(self._choose)
        self._controller: VideoController | None = None
        line = row(QLabel("Reader"), self.name)
        line.setStretch(1, 1)
        column(self).addLayout(line)

    def follow(self, controller: VideoController) -> None:
        """Show whose session of a video is open, or is to be opened."""
        self._controller = controller
        session = controller.session
        self.name.setText(session.reader if session is not None else controller.reader or settings().reader)

    def _choose(self) -> None:
        """Go on as another reader. One who types nothing is the default one."""
        controller, name = self._controller, self.name.text().strip() or DEFAULT
        self.name.setText(name)
        if controller is not None and (controller.session is None or controller.session.reader != name):
            controller.change_reader(name)


class TagMenu(QPushButton):
    """Shows the tags of the frame on screen, and gives it others."""

    def __init__(self, controller: Callable[[], VideoController | None]) -> None:
        super().__init__()
        self._controller = controller
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # however long the tags are
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)
        self.show_frame()

    def show_frame(self) -> None:
        """Name the tags of the frame on screen."""
        session, t = self._shown()
        said = ", ".join(session.tags(t)) if session is not None else ""
        self._said = f"Tags: {said}" if said else "Tags"
        self.setToolTip(tip(f"{self._said}\n{TAGS_TIP}" if said else TAGS_TIP))
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show as much of the tags as there is room for."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = self.width() - ARROW
        self.setText(_label(self.fontMetrics().elidedText(self._said, Qt.TextElideMode.ElideRight, room)))

    def _shown(self) -> tuple[Session | None, int]:
        controller = self._controller()
        return (None, 0) if controller is None else (controller.session, controller.current_frame)

    def _fill(self) -> None:
        self._menu.clear()
        session, t = self._shown()
        if session is None:
            return
        has = session.tags(t)
        for name in dict.fromkeys((*USUAL, *session.tag_names, *has)):
            if name != NO_LESION:
                action = QAction(_label(name), self._menu)
                action.setCheckable(True)
                action.setChecked(name in has)
                action.triggered.connect(partial(self._tag, session, t, name))
                self._menu.addAction(action)
        other = QAction("Other ...", self._menu)
        other.triggered.connect(lambda: self._ask(session, t))
        self._menu.addAction(other)

    def _ask(self, session: Session, t: int) -> None:
        name, taken = QInputDialog.getText(self, "Tag", f"What is to be said of frame {t}?")
        if taken and name.strip():
            self._tag(session, t, name, True)

    def _tag(self, session: Session, t: int, name: str, on: bool) -> None:
        change = session.tag if on else session.untag
        try:
            in_background(lambda: change(t, name))
        except (SessionError, ValueError) as error:
            show_problem(error)
        self.show_frame()


def _label(text: str) -> str:
    """A text that a button or a menu shows as it is."""
    return plain(text).replace("&", "&&")
