"""Small pictures of frames, made in a thread of their own and shown in a card beside the mouse."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget
from vivim.errors import SessionError, VideoError
from vivim.imaging.drawing import outlined
from vivim.session import Session
from vivim.utils.lru_cache import LRUCache
from vivim.video.base import Video

WIDTH, HEIGHT = 208, 156
"""A thumbnail fits into this many pixels."""
DWELL = 0.12
"""Seconds the mouse rests on a frame before it is decoded exactly. A preview is there at once."""
CACHED = 200
"""Thumbnails kept in memory, about 100 kB each."""
T = TypeVar("T")


class LatestRequest(Generic[T]):
    """Serves requests in a thread of its own, called `name`, each only until the next one comes.

    ``serve(request, superseded)`` is called in the thread. It should return soon once the event `superseded` is set.
    """

    def __init__(self, name: str, serve: Callable[[T, threading.Event], None]) -> None:
        self._serve = serve
        self._requests: queue.SimpleQueue[tuple[T, threading.Event] | None] = queue.SimpleQueue()
        self._superseded = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, request: T) -> None:
        """Serve this request next, and no earlier one any more."""
        self.cancel()
        self._superseded = threading.Event()
        self._requests.put((request, self._superseded))

    def cancel(self) -> None:
        """Give up the latest request."""
        self._superseded.set()

    def close(self) -> None:
        """End the thread without waiting for it. Safe to call twice."""
        self.cancel()
        self._requests.put(None)

    def _run(self) -> None:
        while (found := self._requests.get()) is not None:
            if not found[1].is_set():
                self._serve(*found)


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
        with suppress(SessionError):  # it has been closed or moved meanwhile
            thumbnail = outlined(thumbnail, self._session.shown(frame))
        self.ready.emit(frame, frame, thumbnail)


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
        height, width = picture.shape[:2]
        data = np.ascontiguousarray(picture).tobytes()
        pixmap = QPixmap.fromImage(QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888))
        if note:
            painter = QPainter(pixmap)
            painter.setPen(QColor("white"))
            painter.drawText(pixmap.rect().adjusted(4, 2, 0, 0), Qt.AlignmentFlag.AlignLeft, note)
            painter.end()
        self.picture.setPixmap(pixmap)


def small(frame: NDArray, size: tuple[int, int], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """A frame ``(H, W)`` or ``(H, W, 3)``, scaled to fit into `size` (width, height), as ``(h, w, 3)`` uint8.

    `limits` are the values of a grey frame that are shown as black and white.
    """
    scale = min(size[0] / frame.shape[1], size[1] / frame.shape[0])
    new_size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    scaled = cv2.resize(frame, new_size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scaled.ndim == 3:
        return np.asarray(scaled, np.uint8)
    low, high = limits
    grey = np.clip((scaled.astype(np.float32) - low) / max(1e-9, high - low), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
