"""The painted part of the timeline: lanes of marks, curves and statuses, zoomed and panned by the mouse.

It knows arrays and frame numbers, no session, and paints column of pixels by column: 20,000 frames cost what 200 do.
The lanes are painted once and kept until something in them changes;
moving through the video only draws the line of the current frame over them.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRect, QRectF, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget
from vivim.session import STATUS_NAMES

from napari_vivim.qt.style import AREA, DAMAGED, JUMP, STATUS_COLORS, SUGGESTED

MARKS, CURVES, PRESENCE, BARS, AXIS = 14, 40, 10, 20, 16
"""Heights of the lanes in pixels, from the top."""
LANES = MARKS + CURVES + PRESENCE + BARS
LEAST_SCALE = 0.05
"""The curve of uncertainty reaches its top at the most doubtful frame, or at this many bits."""
LEAST_SHOWN = 20
"""Frames that remain in sight however far one zooms in."""
LABEL_PIXELS = 90
"""Numbers on the axis are at least so far apart."""
STATUS_HEIGHTS = {"empty": 1, "proposed": 2, "accepted": 3, "corrected": 4}
"""Quarters of the bars' height: colours alone do not tell statuses apart for everybody."""
STATUS_GLYPHS = {name: "▂▄▆█"[height - 1] for name, height in STATUS_HEIGHTS.items()}
"""The bars as text, in a legend."""


class TimelineView(QWidget):
    """All frames of a video side by side, or those of a range of it."""

    clicked = Signal(int)
    """The person goes to this frame."""
    hovered = Signal(int)
    """The mouse is over this frame; -1 when it has left."""
    range_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.codes: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.uncertain: NDArray[np.float32] = np.zeros(0, np.float32)
        self.areas: NDArray[np.float32] = np.zeros(0, np.float32)
        self.jumps: NDArray[np.intp] = np.zeros(0, np.intp)
        self.renewed: NDArray[np.intp] = np.zeros(0, np.intp)
        self.suggested: list[int] = []
        self.damaged: list[int] = []
        self.current, self.under_mouse = 0, -1
        self.first, self.last = 0.0, 0.0
        self._ink, self._paper = QColor("#e8eaed"), QColor("#22262d")
        self._lanes: QPixmap | None = None
        self._panning_from: tuple[float, float] | None = None
        self.setFixedHeight(LANES + AXIS)
        self.setMinimumWidth(200)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys stay with the canvas
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    # -- what it shows --------------------------------------------------------------------------------------------

    def set_frames(self, codes: NDArray[np.uint8], uncertain: NDArray[np.float32]) -> None:
        """Show these statuses and uncertainties in bits, both ``(T,)``, NaN where nothing was proposed."""
        if len(codes) != len(self.codes):
            self.areas, self.jumps = np.full(len(codes), np.nan, np.float32), np.zeros(0, np.intp)
            self.renewed = np.zeros(0, np.intp)
            self.suggested, self.damaged, self.first, self.last = [], [], 0.0, float(len(codes))
        self.codes, self.uncertain = codes, uncertain
        self._repaint_lanes()

    def shows(self, codes: NDArray[np.uint8], uncertain: NDArray[np.float32]) -> bool:
        """Whether these are the statuses and uncertainties that it shows."""
        return np.array_equal(codes, self.codes) and np.array_equal(uncertain, self.uncertain, equal_nan=True)

    def set_shapes(self, areas: NDArray[np.float32], jumps: NDArray[np.intp]) -> None:
        """Show areas ``(T,)``, of any unit, and mark the frames in `jumps`."""
        self.areas, self.jumps = areas, jumps
        self._repaint_lanes()

    def set_suggested(self, frames: list[int]) -> None:
        """Mark the frames suggested next, the first one most."""
        self.suggested = frames
        self._repaint_lanes()

    def set_renewed(self, frames: NDArray[np.intp]) -> None:
        """Mark the frames whose masks the last run has changed."""
        self.renewed = frames
        self._repaint_lanes()

    def set_damaged(self, frames: list[int]) -> None:
        """Cross out these frames, in order."""
        if frames != self.damaged:
            self.damaged = frames
            self._repaint_lanes()

    def set_current(self, frame: int) -> None:
        """Mark the frame on screen. Where it would be out of sight, move there."""
        if frame == self.current:
            return
        self.current = frame
        if self._panning_from is None and not self.first <= frame < self.last:
            half = (self.last - self.first) / 2
            self.show_range(frame - half, frame + half)
        self.update()

    def set_colors(self, ink: QColor, paper: QColor) -> None:
        """Draw lines and numbers in `ink` on `paper`."""
        self._ink, self._paper = ink, paper
        self._repaint_lanes()

    def show_range(self, first: float, last: float) -> None:
        """Show the frames from `first` up to `last`, or as near to it as there are frames."""
        count = float(len(self.codes))
        span = float(np.clip(last - first, min(LEAST_SHOWN, count), count))
        start = float(np.clip((first + last - span) / 2, 0.0, count - span))
        if (start, start + span) != (self.first, self.last):
            self.first, self.last = start, start + span
            self._repaint_lanes()
            self.range_changed.emit()

    def show_all(self) -> None:
        """Show the whole video."""
        self.show_range(0.0, float(len(self.codes)))

    @property
    def zoomed(self) -> bool:
        """Whether some frames are out of sight."""
        return self.last - self.first < len(self.codes)

    def frame_at(self, x: float) -> int:
        """The frame drawn at a horizontal position in pixels."""
        frame = self.first + x / max(1, self.width()) * (self.last - self.first)
        return int(np.clip(frame, 0, max(0, len(self.codes) - 1)))

    def x_of(self, frame: float) -> float:
        """Where the middle of a frame is, in pixels."""
        return (frame + 0.5 - self.first) / max(1e-9, self.last - self.first) * self.width()

    # -- painting -------------------------------------------------------------------------------------------------

    def _repaint_lanes(self) -> None:
        self._lanes = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # type: ignore[override]
        """Draw the lanes, then the lines of the current frame and of the one under the mouse."""
        painter = QPainter(self)
        if self._lanes is None or self._lanes.size() != self.size() * self.devicePixelRatioF():
            self._lanes = self._painted_lanes()
        painter.drawPixmap(0, 0, self._lanes)
        if len(self.codes):
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if self.under_mouse >= 0:
                painter.setPen(QPen(self._faint(120), 1))
                self._draw_line(painter, self.under_mouse)
            painter.setPen(QPen(self._ink, 1.5))
            self._draw_line(painter, self.current)
            painter.setBrush(self._ink)
            x = self.x_of(self.current)
            painter.drawPolygon(QPolygonF([QPointF(x - 6, 0), QPointF(x + 6, 0), QPointF(x, 7)]))
        painter.end()

    def _draw_line(self, painter: QPainter, frame: int) -> None:
        x = self.x_of(frame)
        painter.drawLine(QPointF(x, 0), QPointF(x, LANES))

    def _faint(self, alpha: int) -> QColor:
        color = QColor(self._ink)
        color.setAlpha(alpha)
        return color

    def _painted_lanes(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        lanes = QPixmap(self.size() * ratio)
        lanes.setDevicePixelRatio(ratio)
        lanes.fill(self._paper)
        if len(self.codes):
            painter = QPainter(lanes)
            self._draw_areas(painter)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._draw_uncertainty(painter)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            bars = status_bars(columns(self.codes, self.first, self.last, self.width()))
            painter.drawImage(QRect(0, LANES - BARS, self.width(), BARS), bars, bars.rect())
            self._draw_axis(painter)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._draw_marks(painter)
            painter.end()
        return lanes

    def _draw_areas(self, painter: QPainter) -> None:
        shown = columns(self.areas, self.first, self.last, self.width())
        most = float(np.nanmax(self.areas)) if np.isfinite(self.areas).any() else 0.0
        if most > 0:
            color = QColor(AREA)
            color.setAlpha(130)
            painter.drawImage(0, MARKS, filled_curve(shown / most * 0.94, CURVES, color))
            present = np.where(shown > 0, 1.0, np.nan)
            painter.drawImage(0, MARKS + CURVES + 3, filled_curve(present, PRESENCE - 6, QColor(AREA)))

    def _draw_uncertainty(self, painter: QPainter) -> None:
        shown = columns(self.uncertain, self.first, self.last, self.width())
        known = self.uncertain[np.isfinite(self.uncertain)]
        heights = MARKS + CURVES - 2 - shown / max(LEAST_SCALE, known.max(initial=0.0)) * (CURVES - 6)
        painter.setPen(QPen(self._ink, 1.2))
        for run in runs(heights):
            painter.drawPolyline(
                QPolygonF([QPointF(x, y) for x, y in zip(run.tolist(), heights[run].tolist(), strict=True)])
            )

    def _draw_axis(self, painter: QPainter) -> None:
        top, span = LANES, self.last - self.first
        rough = max(1.0, span * LABEL_PIXELS / max(1, self.width()))
        power = 10 ** np.floor(np.log10(rough))
        step = int(next(power * k for k in (1, 2, 5, 10) if power * k >= rough))
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        painter.setPen(self._faint(190))
        for frame in range(-(-int(self.first) // step) * step, int(np.ceil(self.last)), step):
            x = self.x_of(frame)
            painter.drawLine(QPointF(x, top), QPointF(x, top + 3))
            text = f"{frame:,}"
            wide = painter.fontMetrics().horizontalAdvance(text) + 2
            box = QRectF(float(np.clip(x - wide / 2, 2, self.width() - wide)), top + 3, wide, AXIS - 3)
            painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, text)

    def _draw_marks(self, painter: QPainter) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(JUMP))
        seen = self.jumps[(self.jumps >= self.first - 1) & (self.jumps < self.last)]
        for x in np.unique(np.array([self.x_of(t) for t in seen.tolist()]).round()):
            low = MARKS + CURVES + PRESENCE - 1
            painter.drawPolygon(QPolygonF([QPointF(x, low - 8), QPointF(x - 4, low), QPointF(x + 4, low)]))
        painter.setBrush(self._ink)
        for x in dict.fromkeys(round(self.x_of(t)) for t in self.renewed.tolist()):
            painter.drawRect(QRectF(x - 1.5, LANES - BARS, 3, 3))
        painter.setPen(QPen(QColor(DAMAGED), 2))
        for x in dict.fromkeys(round(self.x_of(t)) for t in self.damaged):
            for rise in (4, -4):
                center = MARKS + CURVES - 8
                painter.drawLine(QPointF(x - 4, center - rise), QPointF(x + 4, center + rise))
        middle = MARKS / 2
        for number, frame in reversed(list(enumerate(self.suggested))):
            x, size = self.x_of(frame), 6.0 if number == 0 else 4.0
            painter.setPen(QPen(QColor(SUGGESTED), 1.4))
            painter.setBrush(QColor(SUGGESTED) if number == 0 else Qt.BrushStyle.NoBrush)
            corners = ((0, -size), (size, 0), (0, size), (-size, 0))
            painter.drawPolygon(QPolygonF([QPointF(x + dx, middle + dy) for dx, dy in corners]))

    # -- the mouse ------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """Go to the frame under the mouse, or begin to pan on the axis or with another button."""
        if not len(self.codes):
            return
        on_axis = event.position().y() >= LANES
        if event.button() == Qt.MouseButton.LeftButton and not on_axis:
            self.clicked.emit(self.frame_at(event.position().x()))
        else:
            self._panning_from = event.position().x(), self.first
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """Report the frame under the mouse, and go there or pan with a button down."""
        if not len(self.codes):
            return
        x = event.position().x()
        if self._panning_from is not None:
            start, first = self._panning_from
            left = first - (x - start) / max(1, self.width()) * (self.last - self.first)
            self.show_range(left, left + self.last - self.first)
        elif event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(self.frame_at(x))
        self._hover(self.frame_at(x))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """End panning."""
        self._panning_from = None
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # type: ignore[override]
        """Show the whole video."""
        self.show_all()

    def wheelEvent(self, event: QWheelEvent) -> None:  # type: ignore[override]
        """Zoom at the mouse, or pan with shift or sideways."""
        turn, sideways = event.angleDelta().y(), event.angleDelta().x()
        span = self.last - self.first
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier or abs(sideways) > abs(turn):
            left = self.first - (sideways or turn) / 120 * 0.1 * span
            self.show_range(left, left + span)
        else:
            share = event.position().x() / max(1, self.width())
            fixed, wanted = self.first + share * span, span * 0.8 ** (turn / 120)
            wanted = float(np.clip(wanted, min(LEAST_SHOWN, len(self.codes)), len(self.codes)))
            self.show_range(fixed - share * wanted, fixed + (1 - share) * wanted)
        self._hover(self.frame_at(event.position().x()))
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # type: ignore[override]
        """Report that the mouse has left."""
        self._hover(-1)

    def _hover(self, frame: int) -> None:
        if frame != self.under_mouse:
            self.under_mouse = frame
            self.hovered.emit(frame)
            self.update()


def columns(values: NDArray, first: float, last: float, width: int) -> NDArray:
    """The highest of the values ``(T,)`` in each of `width` columns, which show the frames from `first` up to `last`.

    The highest, so that no corrected frame and no peak of uncertainty disappears. NaN counts only where all are.
    """
    if not len(values) or width < 1:
        return np.zeros(0, values.dtype)
    at = first + np.arange(width) * ((last - first) / width)
    begin = np.clip(at.astype(np.intp), 0, len(values) - 1)
    if last - first <= width:
        return values[begin]
    end = int(np.clip(np.ceil(last), begin[-1] + 1, len(values)))
    return np.fmax.reduceat(values[:end], begin)


def status_bars(codes: NDArray[np.uint8]) -> QImage:
    """Bars of statuses ``(width,)``, four pixels high, to be stretched."""
    colors = np.array([QColor(STATUS_COLORS[name]).rgba() for name in STATUS_NAMES], np.uint32)
    heights = np.array([STATUS_HEIGHTS[name] for name in STATUS_NAMES])
    filled = np.arange(4, 0, -1)[:, None] <= heights[codes]
    return _image(np.where(filled, colors[codes], np.uint32(0)))


def filled_curve(shares: NDArray[np.floating], height: int, color: QColor) -> QImage:
    """The area under a curve of `shares` ``(width,)`` in [0, 1], as a picture `height` pixels high. NaN is a gap."""
    tops = height * (1 - np.nan_to_num(shares, nan=-1.0))
    filled = np.arange(height)[:, None] >= np.floor(tops)
    alpha = color.alpha() / 255
    red, green, blue = (round(c * alpha) for c in (color.red(), color.green(), color.blue()))
    premultiplied = np.uint32(color.alpha() << 24 | red << 16 | green << 8 | blue)
    return _image(np.where(filled, premultiplied, np.uint32(0)))


def runs(values: NDArray[np.floating]) -> Iterator[NDArray[np.intp]]:
    """Indices of every stretch without NaN, in order."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        yield from np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)


def _image(pixels: NDArray) -> QImage:
    height, width = pixels.shape
    data = pixels.astype(np.uint32).tobytes()
    return QImage(data, width, height, width * 4, QImage.Format.Format_ARGB32_Premultiplied).copy()
