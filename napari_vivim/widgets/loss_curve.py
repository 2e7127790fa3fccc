"""A small live plot while a model learns: the loss, and the Dice on frames that are held out."""

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

ON_DARK, ON_LIGHT = ("#26c878", "#4aa8ff"), ("#12804a", "#1a66c2")
"""Colours of loss and Dice on a dark and on a light ground."""
SMOOTHING = 0.7
MARGIN = 6.0


class LossCurve(QWidget):
    """Paints losses as a line from left to right, and held-out Dice, from 0 to 1, as points joined by a line."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.dice: list[tuple[int, float]] = []
        self.caption = ""
        self.total = 1
        self.setFixedHeight(96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "Line: what the training lowers (loss, smoothed).\n"
            "Points: mean Dice on the frames held out in this round, from 0 (below) to 1 (top)"
        )

    def clear(self, caption: str, total: int = 1) -> None:
        """Start a new curve of `total` steps."""
        self.losses, self.dice, self.caption, self.total = [], [], caption, total
        self.update()

    def add(self, loss: float) -> None:
        """Append one value."""
        previous = self.losses[-1] if self.losses else loss
        self.losses.append(SMOOTHING * previous + (1 - SMOOTHING) * loss)
        self.update()

    def add_dice(self, step: int, dice: float) -> None:
        """Append the held-out Dice after a step."""
        self.dice.append((step, dice))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # type: ignore[override]
        """Draw frame, curves, caption and last values."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        loss, dice = (QColor(name) for name in (ON_DARK if ink.lightnessF() > 0.5 else ON_LIGHT))
        faint = QColor(ink)
        faint.setAlpha(60)
        area = QRectF(self.rect()).adjusted(1, 18, -1, -1)
        painter.setPen(QPen(faint, 1))
        painter.drawRoundedRect(area, 3, 3)
        self._write(painter, ink, loss, dice)
        inner = area.adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        if len(self.losses) > 1:
            low, high = min(self.losses), max(self.losses)
            values = [(i + 1, (value - low) / max(high - low, 1e-9)) for i, value in enumerate(self.losses)]
            painter.setPen(QPen(loss, 2))
            painter.drawPolyline(QPolygonF(self._points(inner, values)))
        if self.dice:
            points = self._points(inner, self.dice)
            painter.setPen(QPen(dice, 2))
            painter.drawPolyline(QPolygonF(points))
            painter.setBrush(dice)
            for point in points:
                painter.drawEllipse(point, 3.0, 3.0)
        painter.end()

    def _write(self, painter: QPainter, ink: QColor, loss: QColor, dice: QColor) -> None:
        """Write the last values at the right, and the caption in the room that is left."""
        line, metrics = QRectF(0, 0, self.width(), 16), painter.fontMetrics()
        texts = [(f"● Dice {self.dice[-1][1]:.3f}", dice)] if self.dice else []
        texts += [(f"— loss {self.losses[-1]:.3f}", loss)] if self.losses else []
        for text, color in texts:
            painter.setPen(color)
            painter.drawText(line, Qt.AlignmentFlag.AlignRight, text)
            line.setWidth(line.width() - metrics.horizontalAdvance(text) - 10)
        painter.setPen(ink)
        shown = metrics.elidedText(self.caption, Qt.TextElideMode.ElideRight, int(line.width()))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, shown)

    def _points(self, area: QRectF, values: Sequence[tuple[int, float]]) -> list[QPointF]:
        last = max(self.total - 1, 1)
        return [
            QPointF(area.left() + area.width() * (step - 1) / last, area.bottom() - area.height() * value)
            for step, value in values
        ]
