"""Small pictures of frames, made in a thread of their own and shown in a card beside the mouse."""

import threading

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget
from vivim.errors import SessionError, VideoError
from vivim.imaging.drawing import outlined
from vivim.session import Session
from vivim.utils.lru_cache import LRUCache
from vivim.video.base import Video

from napari_vivim.background.latest_request import LatestRequest
from napari_vivim.qt.pictures import pixmap_of, small

WIDTH, HEIGHT = 208, 156
"""A thumbnail fits into this many pixels."""
DWELL = 0.12
"""Seconds the mouse rests on a frame before it is decoded exactly. A preview is there at once."""
CACHED = 200
"""Thumbnails kept in memory, about 100 kB each."""


class Thumbnails(QObject):
    """Makes the thumbnail last asked for, and no earlier one."""

    ready = Signal(int, int, object)
    """The frame asked for, the one shown, and ``(h, w, 3)`` uint8. None where it cannot be decoded."""

    def __init__(self, video: Video, session: Session) -> None:
        super().__init__()
        self._video, self._session = video, session
        self._cache: LRUCache[int, NDArray[np.uint8]] = LRUCache(CACHED)
        self.requests = LatestRequest("vivim-thumbnails", self._serve)

    def ask(self, frame: int, limits: tuple[float, float]) -> None:
        """Make the thumbnail of a frame; `limits` are the values shown as black and white."""
        self.requests.ask((frame, limits))

    def _serve(self, request: tuple[int, tuple[float, float]], superseded: threading.Event) -> None:
        frame, limits = request
        thumbnail = self._cache.get(frame)
        try:
            if thumbnail is None:
                number, picture = self._video.preview(frame)
                if number != frame:
                    self.ready.emit(frame, number, small(picture, (WIDTH, HEIGHT), limits))
                    if superseded.wait(DWELL):
                        return
                    exact = self._video.fetch(frame, superseded.is_set)
                    if exact is None:
                        return
                    picture = exact
                thumbnail = small(picture, (WIDTH, HEIGHT), limits)
                self._cache.put(frame, thumbnail)
        except VideoError:
            self.ready.emit(frame, frame, None)
            return
        self.ready.emit(frame, frame, self._outlined(thumbnail, frame))

    def _outlined(self, thumbnail: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """A thumbnail with the outlines of the frame's mask."""
        try:
            return outlined(thumbnail, self._session.shown(frame))
        except SessionError:  # the session has been closed or moved meanwhile
            return thumbnail


class HoverCard(QFrame):
    """A thumbnail and some lines about a frame, above the mouse. Never takes keys or clicks."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(
            parent,
            Qt.WindowType.ToolTip
            | Qt.WindowType.FramelessWindowHint
            | Qt.WindowType.WindowTransparentForInput,
        )
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.picture, self.text = QLabel(), QLabel()
        self.text.setTextFormat(Qt.TextFormat.RichText)  # whoever shows something escapes its names
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setFixedSize(WIDTH, HEIGHT)
        self.text.setWordWrap(True)
        self.text.setFixedWidth(WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(4)
        layout.addWidget(self.picture)
        layout.addWidget(self.text)

    def show_text(self, text: str, above: QPoint) -> None:
        """Show these lines, the card's lower edge centred on a place on the screen."""
        self.text.setText(text)
        self.adjustSize()
        corner = above - QPoint(self.width() // 2, self.height() + 4)
        screen = self.screen()
        if screen is not None:
            room = screen.availableGeometry()
            corner.setX(max(room.left(), min(corner.x(), room.right() - self.width())))
        self.move(corner)
        self.show()

    def show_picture(self, picture: NDArray[np.uint8] | None, note: str = "") -> None:
        """Show a thumbnail ``(h, w, 3)`` uint8 with a note in its corner. None says that there is none."""
        if picture is None:
            self.picture.setText("cannot be decoded")
            return
        pixmap = pixmap_of(picture)
        if note:
            painter = QPainter(pixmap)
            painter.setPen(QColor("white"))
            painter.drawText(pixmap.rect().adjusted(4, 2, 0, 0), Qt.AlignmentFlag.AlignLeft, note)
            painter.end()
        self.picture.setPixmap(pixmap)
