"""What the window says of damaged frames, and how it finds them: in a thread of its own, beside all other work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QSizePolicy, QVBoxLayout
from vivim.errors import VivimError
from vivim.session import Session
from vivim.session.damage_check import damage_text

from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import plural, quiet, row

REST_SECONDS = 0.002
"""Between two frames, so that the window gets the interpreter and the disk."""
SHOWN_MS = 100
"""What changes is shown at most this often."""
STYLE = "QFrame#vivimDamage { border: 1px solid #e3a73b; border-radius: 4px; }"


class Check(QObject):
    """Compares all masks of a session with its ledger; signals arrive in the thread it was made in."""

    progress = Signal(int, int)
    """Frames compared, of how many; seldom enough to be shown."""
    ended = Signal(bool)
    """Whether all frames were compared."""
    failed = Signal(object)
    """A `VivimError`."""

    def __init__(self, session: Session, start: int) -> None:
        super().__init__()
        self._session, self._start, self._stop = session, start, threading.Event()
        self._thread = threading.Thread(target=self._run, name="vivim-check", daemon=True)

    def begin(self) -> None:
        """Start."""
        self._thread.start()

    def close(self) -> None:
        """Stop, without waiting for the frame it is at; safe to call twice."""
        self._stop.set()

    def _run(self) -> None:
        try:
            step = max(1, len(self._session) // 100)
            for one in self._session.check(self._start, self._stop):
                if one.done % step == 0:
                    self.progress.emit(one.done, one.total)
                self._stop.wait(REST_SECONDS)
        except VivimError as error:
            if not self._stop.is_set():  # else the session was closed meanwhile
                self.failed.emit(error)
            return
        self.ended.emit(not self._stop.is_set())


class DamageBox(QFrame):
    """Says which frames of a video are damaged, and leads to them; hidden while none is known.

    Parameters
    ----------
    say_problem : callable
        Told of a `VivimError`.
    """

    def __init__(self, say_problem: Callable[[Exception], None]) -> None:
        super().__init__()
        self.setObjectName("vivimDamage")
        self.setStyleSheet(STYLE)
        self._say_problem = say_problem
        self._controller: VideoController | None = None
        self._asked = False
        self.check: Check | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SHOWN_MS)
        self._soon.timeout.connect(self._show)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.next = QPushButton("Show the next")
        self.next.setToolTip("Go to the next damaged frame")
        self.next.clicked.connect(self._go_on)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        self.keep = QPushButton("Keep them all")
        self.keep.setToolTip("They are as you want them, and yours. What cannot be read stays damaged")
        self.keep.clicked.connect(self._keep_all)
        layout.addWidget(self.text)
        layout.addLayout(row(self.next, self.keep))
        self.button = QPushButton("Check this session")
        self.button.setToolTip("Compare every mask with what was written down of it")
        self.button.clicked.connect(self.check_all)
        self.result = quiet("")
        self.result.hide()
        self.hide()

    def follow(self, controller: VideoController | None) -> None:
        """Show what is known of this video's session; check it, if that is due."""
        if controller is not self._controller:
            self._let_go()
            self._controller = controller
            if controller is not None:
                controller.frame_changed.connect(self._on_frame_changed)
                controller.closed.connect(self._end_check)
        session = controller.session if controller is not None else None
        self.button.setEnabled(session is not None)
        if session is not None and session.check_due and self.check is None:
            self._begin()
        self._show()

    def check_all(self) -> None:
        """The person wants all masks compared, and to be told how it went."""
        self._asked = True
        self._end_check()
        self._begin()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        session = self._controller.session if self._controller is not None else None
        if session is None or self._controller is None:
            return
        self.check = Check(session, self._controller.current_frame)
        self.check.progress.connect(self._show_progress)
        self.check.ended.connect(self._on_ended)
        self.check.failed.connect(self._say_problem)
        self.check.begin()

    def _let_go(self) -> None:
        self._end_check()
        if self._controller is not None:
            self._controller.frame_changed.disconnect(self._on_frame_changed)
            self._controller.closed.disconnect(self._end_check)

    def _end_check(self) -> None:
        if self.check is not None:
            self.check.close()
            for signal in (self.check.progress, self.check.ended, self.check.failed):
                signal.disconnect()
            self.check = None
        self.result.hide()

    def _show_progress(self, done: int, total: int) -> None:
        if self._asked:
            self.result.setText(f"Comparing masks: {done:,} of {total:,}")
            self.result.show()

    def _on_ended(self, finished: bool) -> None:
        session = self._controller.session if self._controller is not None else None
        self._end_check()
        if self._asked and finished and session is not None:
            count = len(session.damage)
            whole = f"All {len(session):,} frames are as they were written down."
            self.result.setText(f"{plural(count, 'damaged frame')}." if count else whole)
            self.result.show()
        self._asked = False
        self._show()

    def _on_frame_changed(self, frame: int, status: str) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _session_damage(self) -> dict[int, str]:
        session = self._controller.session if self._controller is not None else None
        return session.damage if session is not None else {}

    def _show(self) -> None:
        session = self._controller.session if self._controller is not None else None
        damage = self._session_damage()
        lines = []
        if damage:
            kept = (
                "It is kept as yours; paint it" if len(damage) == 1 else "They are kept as yours; paint them"
            )
            lines.append(f"{damage_text(damage)}. {kept} anew, or revert.")
        if session is not None:
            lines += [f"{text}." for text in session.ledger_damage]
            if session.ledger_damage and session.ledger_kept_in is not None:
                lines.append(f"What is damaged is kept in {session.ledger_kept_in.name}.")
        self.text.setText(" ".join(lines))
        self.next.setVisible(bool(damage))
        self.setVisible(bool(lines))

    def _keep_all(self) -> None:
        if self._controller is not None and self._controller.editing is not None:
            self._controller.editing.keep_damaged(self._show)

    def _go_on(self) -> None:
        damage = self._session_damage()
        if damage and self._controller is not None:
            here = self._controller.current_frame
            self._controller.go_to(next((t for t in damage if t > here), next(iter(damage))))
