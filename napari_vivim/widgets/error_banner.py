"""The last error in full at the foot of a dock, since napari's notifications are short and go away."""

from typing import Any

from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy.QtCore import Qt, QThread
from qtpy.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton
from vivim.errors import VivimError

from napari_vivim.qt.notifications import ErrorNotice
from napari_vivim.qt.plain_text import PlainLabel

STYLE = "QFrame#vivimProblem { border: 1px solid #d64545; border-radius: 4px; margin: 4px 10px; }"


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
