"""The notice of damaged frames, and the check that finds them in the background."""

import threading
from collections.abc import Callable, Iterator

from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout
from vivim.errors import VivimError
from vivim.session import Session
from vivim.session.damage_check import Checked, damage_text

from napari_vivim.background.worker import Job, Worker
from napari_vivim.controller.video_controller import VideoController
from napari_vivim.qt.components import Quiet, button, plural, row, single_shot

REST_SECONDS = 0.002
"""Between two frames, so that the window gets the interpreter and the disk."""
SHOWN_MS = 100
"""What changes is shown at most this often."""
STYLE = "QFrame#vivimDamage { border: 1px solid #e3a73b; border-radius: 4px; }"


class DamageNotice(QFrame):
    """Names the damaged frames of a video, and leads to them. Hidden while none is known."""

    def __init__(self, say_problem: Callable[[Exception], None]) -> None:
        super().__init__()
        self.setObjectName("vivimDamage")
        self.setStyleSheet(STYLE)
        self._say_problem = say_problem
        self._controller: VideoController | None = None
        self._asked = False
        self.check: Job | None = None
        """Compares all masks of the session with its ledger."""
        self._worker = Worker("vivim-check")
        worker = self._worker
        self.destroyed.connect(lambda: worker.close())
        self._soon = single_shot(self, SHOWN_MS, self._show)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.next = button("Show the next", "Go to the next damaged frame", self._go_on)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        tip = "They are as you want them, and yours. What cannot be read stays damaged"
        self.keep = button("Keep them all", tip, self._keep_all)
        layout.addWidget(self.text)
        layout.addLayout(row(self.next, self.keep))
        self.button = button(
            "Check this session", "Compare every mask with what was written down of it", self.check_all
        )
        self.result = Quiet("")
        self.result.hide()
        self.hide()

    def follow(self, controller: VideoController | None) -> None:
        """Show the damage of this video's session, and check it if that is due."""
        if controller is not self._controller:
            self._let_go()
            self._controller = controller
            if controller is not None:
                controller.frame_changed.connect(self._on_frame_changed)
                controller.closed.connect(self._end_check)
        session = self._session
        self.button.setEnabled(session is not None)
        if session is not None and session.check_due and self.check is None:
            self._begin()
        self._show()

    def check_all(self) -> None:
        """Compare all masks and show the result, as the person asked."""
        self._asked = True
        self._end_check()
        self._begin()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        session = self._session
        if session is None or self._controller is None:
            return
        start, stop = self._controller.current_frame, threading.Event()
        step = max(1, len(session) // 100)

        def check() -> Iterator[Checked]:
            try:
                for one in session.check(start, stop):
                    if one.done % step == 0:
                        yield one
                    stop.wait(REST_SECONDS)
            except VivimError:
                if not stop.is_set():  # else the session was closed meanwhile
                    raise

        self.check = Job(check, stop)
        self.check.event.connect(self._show_progress)
        self.check.failed.connect(self._say_problem)
        self.check.ended.connect(self._on_ended)
        self._worker.submit(self.check)

    def _let_go(self) -> None:
        self._end_check()
        if self._controller is not None:
            self._controller.frame_changed.disconnect(self._on_frame_changed)
            self._controller.closed.disconnect(self._end_check)

    def _end_check(self) -> None:
        if self.check is not None:
            self.check.cancel()
            for signal in (self.check.event, self.check.failed, self.check.ended):
                signal.disconnect()
            self.check = None
        self.result.hide()

    def _show_progress(self, checked: Checked) -> None:
        if self._asked:
            self.result.setText(f"Comparing masks: {checked.done:,} of {checked.total:,}")
            self.result.show()

    def _on_ended(self, finished: bool) -> None:
        session = self._session
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

    @property
    def _session(self) -> Session | None:
        return self._controller.session if self._controller is not None else None

    def _damage(self) -> dict[int, str]:
        return self._session.damage if self._session is not None else {}

    def _show(self) -> None:
        session, damage = self._session, self._damage()
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
        damage = self._damage()
        if damage and self._controller is not None:
            here = self._controller.current_frame
            self._controller.go_to(next((t for t in damage if t > here), next(iter(damage))))
