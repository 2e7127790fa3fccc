"""Errors as napari's notifications, and the last one in full at the foot of a dock: notifications are short and go."""

from collections.abc import Callable
from typing import Any

from napari.utils.notifications import (
    ErrorNotification,
    Notification,
    NotificationSeverity,
    notification_manager,
)
from qtpy.QtCore import Qt, QThread
from qtpy.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton
from vivim.errors import VivimError

from napari_vivim.qt.plain_text import PlainLabel, plain

STYLE = "QFrame#vivimProblem { border: 1px solid #d64545; border-radius: 4px; margin: 4px 10px; }"


class ErrorNotice(Notification):
    """A notification of ours, which the docks show in full."""


def show_problem(error: Exception) -> None:
    """Show an error as a notification, with its class unless it is one of ours."""
    text = str(error) if isinstance(error, VivimError) else f"{type(error).__name__}: {error}"
    notification_manager.dispatch(ErrorNotice(plain(text), NotificationSeverity.ERROR))


def guarded(action: Callable[[], object]) -> None:
    """Run an action, and show errors that a person can cause instead of raising them."""
    try:
        action()
    except VivimError as error:
        show_problem(error)


class ErrorBanner(QFrame):
    """Shows the last error of `vivim`, or of `show_problem`, until it is dismissed."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("vivimProblem")
        self.setStyleSheet(STYLE)
        sign, self.text = PlainLabel("▲"), PlainLabel()
        sign.setStyleSheet("color: #d64545;")
        sign.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.dismiss = QToolButton()
        self.dismiss.setText("×")
        self.dismiss.setAutoRaise(True)
        self.dismiss.setToolTip("I have read this")
        self.dismiss.clicked.connect(self.hide)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 4, 4, 4)
        layout.addWidget(sign)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.dismiss)
        notification_manager.notification_ready.connect(self._on_notification)
        self.destroyed.connect(self._leave)
        self.hide()

    def _leave(self) -> None:
        notification_manager.notification_ready.disconnect(self._on_notification)

    def _on_notification(self, event: Any) -> None:
        raised = isinstance(event, ErrorNotification) and isinstance(event.exception, VivimError)
        if (raised or isinstance(event, ErrorNotice)) and QThread.currentThread() is self.thread():
            self.text.setText(event.message)
            self.show()
