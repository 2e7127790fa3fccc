"""The result of a fine-tune: scores before and after, the held-out frames, and what to do now."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget
from vivim.imaging.drawing import outlined
from vivim.imaging.resize import resize_frame
from vivim.session import Session

from napari_vivim.background.worker import Job, Worker
from napari_vivim.qt.components import Quiet
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.pictures import pixmap_of
from napari_vivim.qt.plain_text import PlainLabel, tip

if TYPE_CHECKING:
    from vivim.video import Video

WORST = 3
"""Held-out frames shown as pictures."""

LISTED = 12
"""Held-out frames beside them whose scores are written out."""

SIDE, TEXT = 60, 76
"""Pixels of a picture's longer side, and of the text below it."""


class FinetuneResult(QFrame):
    """Shows a `Finished` and the `Scored` before it."""

    go_to = Signal(int)
    """A frame of this video was clicked."""
    use = Signal(str)
    """The person wants this model to be used from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.verdict, self.scores, self.explanation, self.frames = (
            PlainLabel(),
            PlainLabel(),
            Quiet(),
            Quiet(),
        )
        self.verdict.setWordWrap(True)
        self.verdict.setStyleSheet("font-weight: 600;")
        self.scores.setStyleSheet("font-size: 20px;")
        self.frames.setToolTip(
            "Dice of the other frames while they were held out: before → after. Worst first"
        )
        self.pictures = QWidget()
        self._row = QHBoxLayout(self.pictures)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(2)
        self._row.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self.choose = QPushButton()
        self.choose.setToolTip("Take another model from now on and propose anew; corrected frames stay")
        self.choose.clicked.connect(lambda: self.use.emit(self._offered))
        layout = QVBoxLayout(self)
        for part in (self.verdict, self.scores, self.explanation, self.pictures, self.frames, self.choose):
            layout.addWidget(part)
        self._offered = ""
        self._names: list[str] = []
        self._worker = Worker("vivim-pictures")
        self._job: Job | None = None
        self.hide()

    def show_result(
        self, finished: Any, scored: Any, parent: str, session: Session | None, others: Sequence[Path] = ()
    ) -> None:
        """Fill the card with a `Finished`, made from the model `parent`, and a `Scored` or None. Pictures follow.

        In `scored` the video on screen, of `session`, has the number 0; those of the folders `others` follow.
        """
        rows = sorted(scored.per_frame if scored else (), key=lambda row: row[3])
        self._names = [folder.name.removesuffix(".vivim") for folder in others]
        self._say(finished, parent)
        texts = (
            f"{self._called(n, t)}: {a:.2f} → {b:.2f}".replace(" ", "\u00a0")
            for n, t, a, b in rows[WORST : WORST + LISTED]
        )
        self.frames.setText(" · ".join(texts))
        self.frames.setVisible(len(rows) > WORST)
        self._clear_pictures()
        self.pictures.setVisible(bool(rows))
        if rows and session is not None:
            self._job = Job(lambda: pictures_of(session, others, rows[:WORST]))
            self._job.event.connect(self._add_picture)
            self._job.failed.connect(show_problem)
            self._worker.submit(self._job)
        self.show()

    def _called(self, number: int, frame: int) -> str:
        """The number of a frame, after the name of its video if that is another one."""
        return f"{self._names[number - 1]} {frame}" if number else str(frame)

    def _say(self, event: Any, parent: str) -> None:
        self._offered = parent if event.promoted else event.name
        self.choose.setText(f"Go back to “{parent}”" if event.promoted else "Use it anyway")
        self.choose.setToolTip(
            tip(f"Take “{self._offered}” from now on and propose anew; corrected frames stay")
        )
        self.choose.setEnabled(True)
        if event.before is None:
            self.verdict.setText("Not judged: one corrected frame cannot be held out")
            self.scores.setText("")
            self.explanation.setText(
                f"The new version “{event.name}” is in the list, but the old model stays in use. Correct one more "
                "frame and fine-tune again to see whether it helps."
            )
            return
        self.verdict.setText(
            "Better: now in use" if event.promoted else "Not clearly better: the old model stays"
        )
        self.scores.setText(f"Dice {event.before:.3f} → {event.after:.3f}")
        self.explanation.setText(
            "The mean over corrected frames while each was held out; 1 is perfect. With few frames it is rough. "
            f"Version “{event.name}”, made in {event.seconds:.0f} s. Worst frames:"
        )

    def taken(self, name: str) -> None:
        """Show that the offered model is in use."""
        self.verdict.setText(f"“{name}” is in use")
        self.choose.setEnabled(False)

    def _clear_pictures(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job.event.disconnect(self._add_picture)
            self._job = None
        while (item := self._row.takeAt(0)) is not None:
            if (button := item.widget()) is not None:
                button.deleteLater()

    def _add_picture(self, found: tuple[int, int, float, float, np.ndarray]) -> None:
        number, frame, before, after, picture = found
        button = QToolButton()
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setIcon(QIcon(pixmap_of(picture)))
        button.setIconSize(QSize(SIDE, SIDE))
        called = self._called(number, frame) if number else f"Frame {frame}"
        name = button.fontMetrics().elidedText(called, Qt.TextElideMode.ElideMiddle, TEXT)
        button.setText(f"{name}\n{before:.2f} → {after:.2f}")
        button.setStyleSheet("font-size: 11px;")
        what = f"Frame {self._called(number, frame)}: Dice {before:.3f} before, {after:.3f} after."
        button.setToolTip(tip(what if number else f"{what} Click to go there"))
        if number == 0:
            button.clicked.connect(lambda: self.go_to.emit(frame))
        self._row.addWidget(button)


def pictures_of(
    session: Session, others: Sequence[Path], rows: list[tuple[int, int, float, float]]
) -> Iterator[tuple[int, int, float, float, np.ndarray]]:
    """Add to each row a small picture ``(h, w, 3)`` uint8 with the outline of the corrected mask."""
    from vivim.video import open_video

    with ExitStack() as stack:
        opened: dict[int, tuple[Session, Video]] = {}
        for number, t, before, after in rows:
            if number not in opened:
                one = session
                if number:
                    one = stack.enter_context(Session.open(others[number - 1], read_only=True))
                video = open_video(one.video_path)  # its own: the session's is busy renewing proposals
                stack.callback(video.close)
                opened[number] = one, video
            one, video = opened[number]
            height, width = one.shape[1:]
            scale = 2 * SIDE / max(height, width)
            size = max(1, round(height * scale)), max(1, round(width * scale))
            picture = outlined(resize_frame(video.frame(t), size), one.shown(t), width=2)
            yield number, t, before, after, picture
