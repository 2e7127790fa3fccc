"""The whole video at a glance: a thin bar a frame, coloured by its status. Click or drag to go there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget
from vivim.session import STATUS_NAMES

STATUS_COLORS = {"empty": "#4a515b", "proposed": "#e3a73b", "corrected": "#26c878", "accepted": "#4a9eff"}
MARKER = 6


class StatusStrip(QWidget):
    """Paints statuses ``(T,)``; where there are more frames than pixels, the rarest status of a pixel shows."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._codes: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._current = 0
        self.setFixedHeight(34)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_statuses(self, codes: NDArray[np.uint8]) -> None:
        """Show these statuses."""
        self._codes = codes
        self.update()

    def set_current(self, frame: int) -> None:
        """Mark the frame on screen."""
        self._current = frame
        self.update()

    def frame_at(self, x: float) -> int:
        """The frame drawn at a horizontal position in pixels."""
        return int(np.clip(x / max(1, self.width()) * len(self._codes), 0, max(0, len(self._codes) - 1)))

    def columns(self, width: int) -> NDArray[np.uint8]:
        """The status drawn in each of `width` columns: the highest, so that no corrected frame disappears."""
        count = len(self._codes)
        edges = np.linspace(0, count, width + 1)
        first = np.minimum(edges[:-1].astype(int), count - 1)
        last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
        if count <= width:
            return self._codes[first]
        return np.array([self._codes[a:b].max() for a, b in zip(first, last, strict=True)], np.uint8)

    def paintEvent(self, event: QPaintEvent) -> None:  # type: ignore[override]
        """Draw the bars and the marker."""
        painter = QPainter(self)
        width, height = self.width(), self.height()
        if len(self._codes):
            colors = np.array([QColor(STATUS_COLORS[name]).rgb() for name in STATUS_NAMES], np.uint32)
            line = np.ascontiguousarray(colors[self.columns(width)])
            image = QImage(line.tobytes(), width, 1, width * 4, QImage.Format.Format_RGB32)
            painter.drawImage(
                self.rect().adjusted(0, MARKER + 2, 0, 0),
                image,
                image.rect(),
                Qt.ImageConversionFlag.AutoColor,
            )
            x = (self._current + 0.5) / len(self._codes) * width
            ink = self.palette().windowText().color()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(ink, 1.5))
            painter.drawLine(QPointF(x, MARKER), QPointF(x, height))
            painter.setBrush(ink)
            painter.drawPolygon(
                QPolygonF([QPointF(x - MARKER, 0), QPointF(x + MARKER, 0), QPointF(x, MARKER)])
            )
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """Go to the frame under the mouse."""
        if len(self._codes):
            self.clicked.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """Say which frame is under the mouse; with a button down, go there."""
        if not len(self._codes):
            return
        frame = self.frame_at(event.position().x())
        self.setToolTip(f"Frame {frame}: {STATUS_NAMES[self._codes[frame]]}")
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(frame)
