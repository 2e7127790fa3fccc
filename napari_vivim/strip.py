"""`StatusStrip`: one thin column a frame, coloured by its status; click or drag to go to a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

NAMES = ("empty", "proposed", "corrected", "accepted")
COLOURS = ("#7d8590", "#3fa7f5", "#f5a623", "#37c871")
MARGIN = 5


class StatusStrip(QWidget):
    """Every frame's status at a glance."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._codes: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._current = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Status of every frame")

    def sizeHint(self) -> QSize:
        """Wide as it may be, 34 pixels high."""
        return QSize(240, 34)

    def set_codes(self, codes: NDArray[np.uint8]) -> None:
        """Show these status codes ``(T,)``."""
        if not np.array_equal(codes, self._codes):
            self._codes = codes
            self.update()

    def set_current(self, t: int) -> None:
        """Mark frame `t`."""
        if t != self._current:
            self._current = t
            self.update()

    def frame_at(self, x: float) -> int:
        """The frame under a horizontal position in pixels."""
        at = (x - MARGIN) / max(1, self.width() - 2 * MARGIN) * len(self._codes)
        return int(np.clip(at, 0, max(0, len(self._codes) - 1)))

    def x_of(self, t: float) -> float:
        """The left edge of frame `t` in pixels."""
        return MARGIN + t * (self.width() - 2 * MARGIN) / max(1, len(self._codes))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw runs of equal status, then the marker."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        top, height = 7.0, self.height() - 14.0
        if not len(self._codes):
            painter.setBrush(QColor(COLOURS[0]))
            painter.setOpacity(0.3)
            painter.drawRoundedRect(QRectF(MARGIN, top, self.width() - 2 * MARGIN, height), 3, 3)
            return
        edges = np.flatnonzero(np.diff(self._codes)) + 1
        starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(self._codes)]
        for start, end in zip(starts, ends, strict=True):
            code = int(self._codes[start])
            painter.setOpacity(0.45 if code == 0 else 1.0)
            width = max(2.0 if code > 1 else 0.0, self.x_of(end) - self.x_of(start))
            painter.fillRect(QRectF(self.x_of(start), top, width, height), QColor(COLOURS[code]))
        painter.setOpacity(1.0)
        x = (self.x_of(self._current) + self.x_of(self._current + 1)) / 2
        painter.setPen(QPen(self.palette().color(self.foregroundRole()), 2))
        painter.drawLine(int(x), 1, int(x), self.height() - 2)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the frame under the pointer."""
        if event is not None and len(self._codes) and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Drag through the frames; without a button say which frame this is."""
        if event is None or not len(self._codes):
            return
        t = self.frame_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.chosen.emit(t)
        else:
            QToolTip.showText(event.globalPosition().toPoint(), f"Frame {t}: {NAMES[self._codes[t]]}", self)
