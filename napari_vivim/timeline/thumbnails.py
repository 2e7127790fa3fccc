"""Small pictures of frames for the timeline: made in a thread of their own, shown in a card beside the mouse."""

from __future__ import annotations

import threading
from collections import OrderedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget
from vivim.errors import SessionError, VideoError
from vivim.imaging.drawing import outlined
from vivim.session import Session
from vivim.video.base import Video

WIDTH, HEIGHT = 208, 156
"""A thumbnail fits into this many pixels."""
DWELL = 0.12
"""Seconds the mouse rests on a frame before it is decoded exactly; a preview is there at once."""
KEPT = 200
"""Thumbnails kept in memory, about 100 kB each."""


class Thumbnails(QObject):
    """Makes the thumbnail last asked for; those asked for before it was its turn are left out."""

    ready = Signal(int, int, object)
    """The frame asked for, the one shown, and ``(h, w, 3)`` uint8; None where it cannot be decoded."""

    def __init__(self, video: Video, session: Session) -> None:
        super().__init__()
        self._video, self._session = video, session
        self._wanted, self._served, self._closed = -1, -1, False
        self._limits = (0.0, 255.0)
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="vivim-thumbnails", daemon=True)
        self._thread.start()

    def ask(self, frame: int, limits: tuple[float, float]) -> None:
        """Make the thumbnail of a frame; `limits` are the values shown as black and white."""
        with self._news:
            self._wanted, self._limits = frame, limits
            self._news.notify_all()

    def forget(self) -> None:
        """Nothing is asked for any more."""
        self.ask(-1, self._limits)

    def close(self) -> None:
        """Make no more, without waiting for the one in the making; safe to call twice."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closed or self._wanted != self._served)
                if self._closed:
                    return
                frame = self._served = self._wanted
            if frame >= 0:
                try:
                    self._serve(frame)
                except VideoError:
                    self.ready.emit(frame, frame, None)

    def _serve(self, frame: int) -> None:
        def moved_on() -> bool:
            return self._closed or self._wanted != frame

        if frame in self._kept:
            self._kept.move_to_end(frame)
            self.ready.emit(frame, frame, self._outlined(self._kept[frame], frame))
            return
        number, picture = self._video.preview(frame)
        if number != frame:
            self.ready.emit(frame, number, small(picture, self._limits))
            with self._news:
                if self._news.wait_for(moved_on, DWELL):
                    return
            exact = self._video.fetch(frame, moved_on)
            if exact is None:
                return
            picture = exact
        self._kept[frame] = small(picture, self._limits)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.ready.emit(frame, frame, self._outlined(self._kept[frame], frame))

    def _outlined(self, thumbnail: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """A thumbnail with the outlines of the frame's mask."""
        try:
            return outlined(thumbnail, self._session.shown(frame))
        except SessionError:  # the session has been closed or moved meanwhile
            return thumbnail


def small(picture: NDArray, limits: tuple[float, float]) -> NDArray[np.uint8]:
    """A frame ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16, as a thumbnail ``(h, w, 3)`` uint8.

    Parameters
    ----------
    picture : ndarray
        The frame.
    limits : tuple of float
        Values of a grey picture that are shown as black and white.
    """
    scale = min(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    tiny = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if tiny.ndim == 3:
        return np.asarray(tiny, np.uint8)
    low, high = limits
    grey = np.clip((tiny.astype(np.float32) - low) / max(1e-9, high - low), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)


class HoverCard(QFrame):
    """A thumbnail and some lines about a frame, above the mouse; never takes keys or clicks."""

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
        """Show a thumbnail ``(h, w, 3)`` uint8 with a note in its corner; None says that there is none."""
        if picture is None:
            self.picture.setText("cannot be decoded")
            return
        height, width = picture.shape[:2]
        image = QImage(
            np.ascontiguousarray(picture).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
        )
        pixmap = QPixmap.fromImage(image)
        if note:
            painter = QPainter(pixmap)
            painter.setPen(QColor("white"))
            painter.drawText(pixmap.rect().adjusted(4, 2, 0, 0), Qt.AlignmentFlag.AlignLeft, note)
            painter.end()
        self.picture.setPixmap(pixmap)
