"""A small live plot of the loss while a model learns."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

LINE = "#26c878"


class LossCurve(QWidget):
    """Paints a list of losses from left to right; smoothed a little, with the last value written beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.caption = ""
        self.setFixedHeight(96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def clear(self, caption: str) -> None:
        """Start a new curve."""
        self.losses, self.caption = [], caption
        self.update()

    def add(self, loss: float) -> None:
        """Append one value."""
        previous = self.losses[-1] if self.losses else loss
        self.losses.append(0.7 * previous + 0.3 * loss)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # type: ignore[override]
        """Draw frame, curve and caption."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        faint = QColor(ink)
        faint.setAlpha(60)
        area = QRectF(self.rect()).adjusted(1, 18, -1, -1)
        painter.setPen(QPen(faint, 1))
        painter.drawRoundedRect(area, 3, 3)
        painter.setPen(ink)
        last = f"loss {self.losses[-1]:.3f}" if self.losses else "loss"
        painter.drawText(QRectF(0, 0, self.width(), 16), Qt.AlignmentFlag.AlignLeft, self.caption)
        painter.drawText(QRectF(0, 0, self.width(), 16), Qt.AlignmentFlag.AlignRight, last)
        if len(self.losses) > 1:
            low, high = min(self.losses), max(self.losses)
            across, up = area.width() - 12, area.height() - 12
            points = [
                QPointF(
                    area.left() + 6 + across * i / (len(self.losses) - 1),
                    area.bottom() - 6 - up * (value - low) / max(high - low, 1e-9),
                )
                for i, value in enumerate(self.losses)
            ]
            painter.setPen(QPen(QColor(LINE), 2))
            painter.drawPolyline(QPolygonF(points))
        painter.end()
