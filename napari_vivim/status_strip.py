"""The whole video at a glance: a bar a frame for its status, above it how unsure the model was.

Click or drag to go there. A status is told by the bar's colour and by its height. 20,000 frames are drawn as fast as
200: columns of pixels are filled, not frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget
from vivim.session import STATUS_NAMES

STATUS_COLORS = {"empty": "#4a515b", "proposed": "#e3a73b", "corrected": "#26c878", "accepted": "#4a9eff"}
STATUS_HEIGHTS = {"empty": 1, "proposed": 2, "accepted": 3, "corrected": 4}
"""Quarters of the bars' height."""
MARKER = 6
CURVE = 18
LEAST_SCALE = 0.05
"""The curve reaches its top at the most doubtful frame, or at this many bits."""
BARS = 26


class StatusStrip(QWidget):
    """Paints statuses and uncertainty, both ``(T,)``; of several frames in a pixel the highest of each shows."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._codes: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._unsure: NDArray[np.float32] = np.zeros(0, np.float32)
        self._current = 0
        self.setFixedHeight(MARKER + CURVE + BARS)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_frames(self, codes: NDArray[np.uint8], unsure: NDArray[np.float32]) -> None:
        """Show these statuses, and how unsure the model was of each frame in bits; NaN where it proposed nothing."""
        self._codes, self._unsure = codes, unsure
        self.update()

    def set_current(self, frame: int) -> None:
        """Mark the frame on screen."""
        self._current = frame
        self.update()

    def frame_at(self, x: float) -> int:
        """The frame drawn at a horizontal position in pixels."""
        return int(np.clip(x / max(1, self.width()) * len(self._codes), 0, max(0, len(self._codes) - 1)))

    def columns(self, width: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Status and uncertainty in each of `width` columns: the highest, so that no corrected frame disappears."""
        count = len(self._codes)
        first = np.linspace(0, count, width, endpoint=False).astype(int)
        if count <= width:
            return self._codes[first], self._unsure[first]
        return np.maximum.reduceat(self._codes, first), np.fmax.reduceat(self._unsure, first)

    def paintEvent(self, event: QPaintEvent) -> None:  # type: ignore[override]
        """Draw the bars and the marker."""
        painter = QPainter(self)
        width, height = self.width(), self.height()
        if len(self._codes):
            codes, unsure = self.columns(width)
            image = _bars(codes)
            painter.drawImage(self.rect().adjusted(0, MARKER + CURVE, 0, 0), image, image.rect())
            painter.setPen(QPen(self.palette().windowText().color(), 1))
            known = np.flatnonzero(np.isfinite(unsure))
            most = max(LEAST_SCALE, float(unsure[known].max(initial=0.0)))
            heights = MARKER + CURVE - 2 - unsure[known] / most * (CURVE - 4)
            painter.drawPolyline(
                QPolygonF([QPointF(float(x), float(y)) for x, y in zip(known, heights, strict=True)])
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
        unsure = self._unsure[frame]
        doubt = f", the model was {unsure:.0%} unsure of its outline" if np.isfinite(unsure) else ""
        self.setToolTip(f"Frame {frame}: {STATUS_NAMES[self._codes[frame]]}{doubt}")
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(frame)


def _bars(codes: NDArray[np.uint8]) -> QImage:
    """Bars of statuses ``(width,)``, four pixels high, to be stretched."""
    colors = np.array([QColor(STATUS_COLORS[name]).rgba() for name in STATUS_NAMES], np.uint32)
    heights = np.array([STATUS_HEIGHTS[name] for name in STATUS_NAMES])
    filled = np.arange(4, 0, -1)[:, None] <= heights[codes]
    pixels = np.where(filled, colors[codes], np.uint32(0)).astype(np.uint32)
    return QImage(pixels.tobytes(), len(codes), 4, len(codes) * 4, QImage.Format.Format_ARGB32).copy()
