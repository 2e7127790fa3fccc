"""Small styled widgets that the docks share, and building them in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QObject, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFocusFrame,
    QGraphicsOpacityEffect,
    QHBoxLayout,
    QProgressBar,
    QProxyStyle,
    QPushButton,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from napari_vivim.qt.plain_text import PlainLabel
from napari_vivim.qt.style import ACTION, ACTION_HOVER, FOCUS, GAP, ON_ACTION, SMALL, TITLE

if TYPE_CHECKING:
    from vivim.inference.proposals import ProposeEvent

W = TypeVar("W", bound=QWidget)

INK = 0.75
"""Opacity of explaining text."""
FLAT = "QPushButton { text-align: left; border: none; background: transparent; padding: 2px 0; }"
TITLE_BUTTON = FLAT.replace("padding: 2px 0;", f"padding: 4px 0 2px 0; {TITLE}")
STEP_MS = 150
"""Milliseconds between two steps of a job that are shown."""
CLOSED, OPEN = "\u25b8", "\u25be"
"""Arrows before a title that folds, drawn as text: in the colour of the text, whatever the theme."""


def heading(text: str) -> PlainLabel:
    """Title of a section."""
    label = PlainLabel(text)
    label.setStyleSheet(f"{TITLE} margin-top: 6px;")
    return label


def subheading(text: str) -> PlainLabel:
    """Title of a part of a section."""
    label = PlainLabel(text)
    label.setStyleSheet(f"{SMALL} font-weight: 600; margin-top: 2px;")
    return label


class Quiet(PlainLabel):
    """Explaining text: small, and paler than other text in either theme."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setStyleSheet(SMALL)
        faded = QGraphicsOpacityEffect(self)
        faded.setOpacity(INK)
        self.setGraphicsEffect(faded)


def button(text: str, tip: str, on_click: Callable[[], object]) -> QPushButton:
    """A button."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda: on_click())  # without whether it is checked
    return made


def primary(text: str, tip: str, on_click: Callable[[], object]) -> QPushButton:
    """The one button of a section that does the work."""
    main = button(text, tip, on_click)
    main.setMinimumHeight(34)
    main.setStyleSheet(
        "QPushButton { font-weight: 600; border-radius: 4px; }"
        f"QPushButton:enabled {{ background-color: {ACTION}; color: {ON_ACTION}; }}"
        f"QPushButton:enabled:hover {{ background-color: {ACTION_HOVER}; }}"
    )
    return main


def row(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def column(parent: QWidget | None = None, spacing: int | None = None) -> QVBoxLayout:
    """A layout of widgets above one another, without margins."""
    layout = QVBoxLayout() if parent is None else QVBoxLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    if spacing is not None:
        layout.setSpacing(spacing)
    return layout


def parent_of(widget: QWidget, kind: type[W]) -> W | None:
    """The nearest widget of a kind that a widget sits in, itself included."""
    parent: QWidget | None = widget
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent


def single_shot(owner: QObject, milliseconds: int, on_timeout: Callable[[], object]) -> QTimer:
    """A timer, not started, that fires once each time it is started, and ends with its owner."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(on_timeout)
    return timer


def choice(tip: str = "") -> QComboBox:
    """A drop-down list that gives way in a narrow panel instead of pushing the rest out of sight."""
    box = QComboBox()
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def clock(seconds: float | None) -> str:
    """Time left, for people."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def plural(count: int, thing: str) -> str:
    """A count with its noun: "1 frame", "2,000 frames"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


class Progress(QWidget):
    """A bar, a line of text and a Cancel button. Hidden while nothing runs.

    Of steps that come in quick succession only the latest is shown, a little later: each time the whole window is drawn
    anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._latest = (0, 0, "")
        self._rest = single_shot(self, STEP_MS, self._show_latest)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.text = Quiet()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what is done so far stays")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(4)
        layout.addWidget(self.bar)
        line = row(self.text, self.cancel)
        line.setStretch(0, 1)
        layout.addLayout(line)
        self.hide()

    def busy(self, text: str) -> None:
        """Show that something is under way whose length is not known."""
        self.bar.setRange(0, 0)
        self.say(text)
        self.cancel.setEnabled(True)
        self.show()

    def say(self, text: str) -> None:
        """Show a text until the next step."""
        self._rest.stop()
        self._latest = (0, 0, text)
        self.text.setText(text)

    def show_step(self, done: int, total: int, text: str, note: str = "") -> None:
        """Show the progress. A `note` is shown at once."""
        self._latest = (done, total, f"{text} · {note}" if note else text)
        if note or done >= total or not self._rest.isActive():
            self._show_latest()
            self._rest.start()

    def show_proposed(self, event: ProposeEvent, before: str = "") -> None:
        """Show the progress of proposing, with the time left or the note of a server."""
        text = f"{before}{event.done} of {event.total}"
        if not event.note:
            text += f" · {clock(event.seconds_left)}"
        self.show_step(event.done, event.total, text, event.note)

    def _show_latest(self) -> None:
        done, total, text = self._latest
        if total:
            self.bar.setUpdatesEnabled(False)  # else it draws the whole window at once, and again after this
            self.bar.setRange(0, total)
            self.bar.setValue(done)
            self.bar.setUpdatesEnabled(True)
            self.text.setText(text)


class Folded(QWidget):
    """A part that is folded away at first, under a title that opens it. With `heading` it looks like a section's."""

    opened = Signal()

    def __init__(self, title: str, tip: str, content: QWidget, heading: bool = False) -> None:
        super().__init__()
        self._title, self._content = title, content
        self.button = QPushButton()
        self.button.setStyleSheet(TITLE_BUTTON if heading else FLAT)
        self.button.setToolTip(tip)
        self.button.setCursor(Qt.CursorShape.PointingHandCursor)
        self.button.clicked.connect(lambda: self.expand(self._content.isHidden()))
        layout = column(self, GAP)
        layout.addWidget(self.button)
        layout.addWidget(content)
        content.hide()
        self.expand(False)

    def expand(self, opened: bool = True) -> None:
        """Open or fold."""
        was_folded = self._content.isHidden()
        self._content.setVisible(opened)
        self.button.setText(f"{OPEN if opened else CLOSED}  {self._title}")
        if opened and was_folded:
            self.opened.emit()


LAID_OUT_MS = 50
"""Milliseconds after which a widget that was just shown has its place."""


def in_turns(owner: QObject, *steps: Callable[[], object]) -> None:
    """Take some steps in order, one a turn of the event loop, from the next turn on, until their owner is gone."""
    left, timer = deque(steps), QTimer(owner)

    def take() -> None:
        step = left.popleft()
        if not left:
            timer.stop()
            timer.deleteLater()
        step()

    timer.timeout.connect(take)
    timer.start(0)


class _Above(QProxyStyle):
    """Puts the frame on the scroll area, where no margin of a control's parent cuts it off."""

    def styleHint(self, hint: Any, *others: Any) -> int:
        """The usual hint, except for the frame."""
        return 1 if hint == QStyle.StyleHint.SH_FocusFrame_AboveWidget else super().styleHint(hint, *others)


class FocusRing(QFocusFrame):
    """Goes from control to control within a dock as the focus does."""

    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self._dock, self._style = dock, _Above()
        self.setStyle(self._style)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._follow)

    def _follow(self, before: QWidget | None, now: QWidget | None) -> None:
        self.setWidget(now if now is not None and self._dock.isAncestorOf(now) else None)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(FOCUS), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 3, 3)
        painter.end()
