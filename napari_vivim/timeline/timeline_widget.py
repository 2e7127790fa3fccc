"""Vivim Timeline: all frames of the video under the canvas."""

from __future__ import annotations

import html
import math
import time
from typing import Any

import napari
import numpy as np
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QLabel, QMainWindow, QSizePolicy, QVBoxLayout, QWidget
from vivim.analysis.active_learning import Suggestion
from vivim.analysis.shape_changes import ShapeTrack
from vivim.session import STATUS_CODES, Session
from vivim.video.base import Video

from napari_vivim.background.session_watcher import SessionWatcher
from napari_vivim.controller.mask_editing import worth_correcting
from napari_vivim.controller.video_controller import VideoController, controller_of, video_layers
from napari_vivim.layers.video_frames import ShownFrames
from napari_vivim.qt.components import parent_of, plural, single_shot
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import PlainLabel
from napari_vivim.qt.style import AREA, DAMAGED, JUMP, STATUS_COLORS, SUGGESTED
from napari_vivim.timeline.thumbnails import HoverCard, Thumbnails
from napari_vivim.timeline.timeline_view import LEAST_SCALE, STATUS_GLYPHS, TimelineView

PLUGIN, TITLE = "napari-vivim", "Vivim Timeline"
NAME = f"{TITLE} ({PLUGIN})"
"""What napari calls the dock."""
REDRAW_MS = 50
"""While masks are proposed, statuses are drawn anew at most this often."""
NOT_OPEN = "The work on this video is not open"
EMPTY = "Drag a video onto the window: all its frames appear here"
SPACE = " &nbsp; "
HOW_TO = (
    "Click or drag: go there · wheel: zoom · shift-wheel, or drag the numbers: pan · double click: show all"
)
REPORT_SECONDS = 0.2
"""New areas are reported at most this often."""
SUGGESTIONS = 5
RENEWING = "propose", "finetune"
"""Jobs that renew masks."""
CHANGED = 0.02
"""A mask is another where its area has changed by more than this part."""
MEANINGS = {
    "empty": "no mask yet",
    "proposed": "a model's mask",
    "corrected": "yours, by hand: no model changes it",
    "accepted": "a model's mask that you vouch for: no model changes it",
}
LEVELS = "low", "medium", "high"


def show_timeline(viewer: napari.Viewer) -> TimelineWidget:
    """The timeline of a viewer. It is opened under the canvas if it is not there yet."""
    if NAME not in viewer.window.dock_widgets:
        # where it belongs at once, and shown with the next layout: each move lays out and draws the whole window
        widget = TimelineWidget(viewer)
        viewer.window.add_dock_widget(widget, name=NAME, area="bottom")
        return widget
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
    if dock.isHidden():
        dock.show()
    return widget


class TimelineWidget(QWidget):
    """Shows the video it is told to `follow`, by default the newest."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.controller: VideoController | None = None
        self.watch: ShapeWatcher | None = None
        self.thumbnails: Thumbnails | None = None
        self.suggestions: list[Suggestion] = []
        self.unit = "px"
        """Of the areas that are shown."""
        self._before: NDArray[np.float32] | None = None
        """Areas before the last run that renewed masks."""
        self._placed = False
        self.view = TimelineView()
        self.legend, self.range = Legend(), PlainLabel()
        self.card = HoverCard(self)
        line = QHBoxLayout()
        line.setContentsMargins(4, 0, 4, 0)
        line.addWidget(self.legend, 1)
        line.addWidget(self.range)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.view)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._redraw = single_shot(self, REDRAW_MS, self._show_frames)
        self.view.clicked.connect(self._go_to)
        self.view.hovered.connect(self._hover)
        self.view.range_changed.connect(self._show_range)
        napari_viewer.dims.events.point.connect(self._on_step)
        napari_viewer.events.theme.connect(self._on_theme)
        napari_viewer.layers.events.inserted.connect(self._take_newest)
        self.destroyed.connect(self._leave)
        self._on_theme()
        self._take_newest()

    # -- which video ----------------------------------------------------------------------------------------------

    def follow(self, controller: VideoController) -> None:
        """Show the video of `controller`, now or as soon as its session is open."""
        if controller is self.controller:
            return
        if self.controller is not None:
            self.controller.opened.disconnect(self._on_opened)
            self.controller.closed.disconnect(self._on_closed)
            self.controller.frame_changed.disconnect(self._on_frame_changed)
            self.controller.job_ended.disconnect(self._on_job_ended)
            self.controller.job_started.disconnect(self._on_job_started)
            self._on_closed()
        self.controller = controller
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._on_closed)
        controller.frame_changed.connect(self._on_frame_changed)
        controller.job_ended.connect(self._on_job_ended)
        controller.job_started.connect(self._on_job_started)
        if controller.session is not None:
            self._on_opened()
        else:
            controller.open_session()
            self._show_frames()

    def _take_newest(self, event: Any = None) -> None:
        layers = video_layers(self.viewer)
        if layers and (event is None or event.value is layers[-1]):
            self.follow(controller_of(self.viewer, layers[-1]))
        self._show_frames()

    def _on_opened(self) -> None:
        assert self.controller is not None and self.controller.session is not None
        session, data = self.controller.session, self.controller.layer.data
        self.watch = ShapeWatcher(session)
        self.watch.measured.connect(self._show_shapes)
        self.watch.suggested.connect(self._show_suggested)
        self.watch.failed.connect(show_problem)
        video = data.video if isinstance(data, ShownFrames) else session.video
        if isinstance(video, Video):
            self.thumbnails = Thumbnails(video, session)
            self.thumbnails.ready.connect(self._show_thumbnail)
        self._show_frames()
        self.view.show_all()
        self._on_step()

    def _on_closed(self) -> None:
        self._let_helpers_go()
        self.watch, self.thumbnails, self.suggestions, self._before = None, None, [], None
        self.card.hide()
        self._show_frames()

    def _leave(self) -> None:
        """Stop following when the dock is destroyed."""
        self.viewer.dims.events.point.disconnect(self._on_step)
        self.viewer.events.theme.disconnect(self._on_theme)
        self.viewer.layers.events.inserted.disconnect(self._take_newest)
        self._let_helpers_go()

    def _let_helpers_go(self) -> None:
        """End what follows the session, and ignore its last signals."""
        if self.watch is not None:
            self.watch.close()
            for signal in (self.watch.measured, self.watch.suggested, self.watch.failed):
                signal.disconnect()
        if self.thumbnails is not None:
            self.thumbnails.requests.close()
            self.thumbnails.ready.disconnect()

    def showEvent(self, event: Any) -> None:
        """Move under the canvas once Qt has laid out the dock, because moving it earlier crashes."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._place)

    def _place(self) -> None:
        window, dock = self.window(), parent_of(self, QDockWidget)
        if dock is not None and isinstance(window, QMainWindow):
            bottom = Qt.DockWidgetArea.BottomDockWidgetArea
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            if window.dockWidgetArea(dock) != bottom:
                window.addDockWidget(bottom, dock)

    # -- what is shown --------------------------------------------------------------------------------------------

    def _on_theme(self, event: Any = None) -> None:
        theme = get_theme(self.viewer.theme).to_rgb_dict()
        rgb = [[int(c) for c in theme[name].strip("rgb()").split(",")] for name in ("text", "background")]
        self.view.set_colors(QColor(*rgb[0]), QColor(*rgb[1]))
        self.setStyleSheet("QLabel { font-size: 11px; }")
        self.card.setStyleSheet(f"HoverCard {{ border: 1px solid {theme['secondary']}; }}")

    def _on_step(self, event: Any = None) -> None:
        if self.controller is not None:
            self.view.set_current(self.controller.current_frame)

    def _on_frame_changed(self, frame: int, status: str) -> None:
        if not self._redraw.isActive():
            self._redraw.start()

    def _on_job_started(self, name: str) -> None:
        if name in RENEWING:
            self._before = self.view.areas.copy()
            self.view.set_renewed(np.zeros(0, np.intp))

    def _on_job_ended(self, name: str, finished: bool) -> None:
        if name == "open":
            self._show_frames()
        elif name in RENEWING:
            self._show_renewed()

    def _show_renewed(self) -> None:
        """Mark where the last run has made another mask of one that was there, as far as areas tell."""
        before, areas = self._before, self.view.areas
        if before is not None and len(before) == len(areas):
            changed = np.abs(areas - before) > CHANGED * np.fmax(np.maximum(before, areas), 1.0)
            proposed = self.view.codes == STATUS_CODES["proposed"]
            self.view.set_renewed(np.flatnonzero(changed & (before > 0) & proposed))

    def _show_frames(self) -> None:
        session = self.controller.session if self.controller is not None else None
        if session is None:
            self.view.set_frames(np.zeros(0, np.uint8), np.zeros(0, np.float32))
            there = self.controller is not None and self.controller.layer in self.viewer.layers
            opening = self.controller is not None and self.controller.busy
            self.legend.show_parts({"Opening ..." if opening else NOT_OPEN if there else EMPTY: ""})
            self.range.setText("")
            return
        statuses = session.statuses
        proposed = statuses == STATUS_CODES["proposed"]  # the uncertainty of others does not matter any more
        uncertain = np.where(proposed, session.uncertainty, np.float32(np.nan))
        damaged = list(session.damage)
        if not self.view.shows(statuses, uncertain) or damaged != self.view.damaged:
            self.view.set_frames(statuses, uncertain)
            self.view.set_damaged(damaged)
            self._show_legend()
        self._show_range()

    def _show_shapes(self) -> None:
        if self.watch is not None:
            areas, self.unit = self.watch.track.areas_shown()
            self.view.set_shapes(areas, self.watch.track.jumps())
            self._show_renewed()
            self._show_legend()

    def _show_suggested(self, found: list[Suggestion]) -> None:
        self.suggestions = found
        self.view.set_suggested([one.frame for one in found])
        self._show_legend()

    def _show_legend(self) -> None:
        if self.controller is None:
            return
        view = self.view
        parts = {
            _sign(STATUS_COLORS[name], STATUS_GLYPHS[name], f"{count:,} {name}"): MEANINGS[name]
            for name, count in self.controller.counts().items()
        }
        if view.damaged:
            said = _sign(DAMAGED, "✕", f"{len(view.damaged):,} damaged")
            parts[said] = "the mask on disk is not what was written down"
        if np.isfinite(view.uncertain).any():
            parts["<b>—</b>&nbsp;model&nbsp;unsure"] = (
                "low to high, as unsure as it is anywhere in this video"
            )
        if np.isfinite(view.areas).any():
            most = self._area_text(float(np.nanmax(view.areas)))
            parts[_sign(AREA, "■", f"area, up to {most}")] = "the bar below it shows where a lesion is at all"
        if len(view.renewed):
            parts[f"▪&nbsp;{len(view.renewed):,}&nbsp;renewed"] = "the last run has changed these masks"
        if len(view.jumps):
            parts[_sign(JUMP, "▲", plural(len(view.jumps), "jump"))] = "the shape is unlike the frame before"
        if view.suggested:
            parts[_sign(SUGGESTED, "◆", "next (N)")] = "correcting these helps the others most"
        self.legend.show_parts(parts)

    def _show_range(self) -> None:
        count, view = len(self.view.codes), self.view
        if view.zoomed:
            self.range.setText(f"{int(view.first):,} to {int(np.ceil(view.last)) - 1:,} of {count:,}")
        else:
            self.range.setText(plural(count, "frame"))

    def _area_text(self, area: float) -> str:
        """An area in mm² where every lesion has a scale, else as a share of the picture."""
        assert self.controller is not None and self.controller.session is not None
        if self.unit == "mm²":
            return f"{area:.0f} mm²" if area >= 100 else f"{area:.3g} mm²"
        _, height, width = self.controller.session.shape
        return f"{area / (height * width):.1%} of the picture"

    # -- the mouse ------------------------------------------------------------------------------------------------

    def _go_to(self, frame: int) -> None:
        if self.controller is not None:
            self.controller.go_to(frame)

    def _hover(self, frame: int) -> None:
        if frame < 0 or self.controller is None or self.controller.session is None:
            self.card.hide()
            if self.thumbnails is not None:
                self.thumbnails.requests.cancel()
            return
        x = int(np.clip(self.view.x_of(frame), 0, self.view.width()))
        self.card.show_text(self.describe(frame), self.view.mapToGlobal(QPoint(x, 0)))
        if self.thumbnails is not None:
            low, high = self.controller.layer.contrast_limits
            self.thumbnails.ask(frame, (float(low), float(high)))

    def _show_thumbnail(self, asked: int, shown: int, picture: Any) -> None:
        if asked == self.view.under_mouse:
            self.card.show_picture(picture, "" if asked == shown else f"frame {shown:,} for now")

    def describe(self, frame: int) -> str:
        """Describe a frame in lines of rich text."""
        assert self.controller is not None and self.controller.session is not None
        session, view = self.controller.session, self.view
        time = f" · {frame / session.fps:.2f} s" if session.fps else ""
        facts = [session.status(frame)]
        if np.isfinite(view.areas[frame]):
            facts.append(self._area_text(float(view.areas[frame])) if view.areas[frame] else "nothing found")
        lines = [f"<b>Frame {frame:,}</b>{time}", " · ".join(facts)]
        if problem := session.problem(frame):
            lines.append(f"<span style='color:{DAMAGED}'>✕</span> damaged: {problem}")
        most = float(np.nanmax(view.uncertain, initial=LEAST_SCALE))
        lines += uncertainty(float(view.uncertain[frame]), float(session.disagreement[frame]), most)
        jumps = frame in view.jumps
        shape = shape_change(
            float(self.watch.track.changes[frame]) if self.watch is not None else np.nan, jumps
        )
        if shape:
            lines.append(f"<span style='color:{JUMP}'>▲</span> {shape}" if jumps else shape)
        lines += [
            f"<span style='color:{SUGGESTED}'>◆</span> next: {html.escape(one.reason)}"
            for one in self.suggestions
            if one.frame == frame
        ]
        return "<br>".join(lines)


class Legend(QLabel):
    """Shows parts in a row. Those for which there is no room stand in the tooltip, which has all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(HOW_TO)

    def show_parts(self, parts: dict[str, str]) -> None:
        """Show these, in rich text, the most needed first, each with what it means."""
        if list(parts) != self._parts:
            self._parts = list(parts)
            lines = "<br>".join(f"{part}: {about}" if about else part for part, about in parts.items())
            self.setToolTip(f"<p style='white-space:pre'>{lines}</p><p>{HOW_TO}</p>")
            self._fit()

    def resizeEvent(self, event: Any) -> None:
        """There is more or less room now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        shown = list(self._parts)
        self.setText(SPACE.join(shown))
        while len(shown) > 1 and self.sizeHint().width() > self.width():
            shown.pop()
            self.setText(SPACE.join(shown))


def _sign(color: str, glyph: str, text: str) -> str:
    """A part of the legend: a coloured sign and what it stands for."""
    return f"<span style='color:{color}'>{glyph}</span>&nbsp;{text.replace(' ', '&nbsp;')}"


def uncertainty(total: float, windows: float, most: float) -> list[str]:
    """How unsure the model was of a frame, and why, in lines of rich text.

    `total`, in bits, is NaN where nothing was proposed, and there is nothing to say. `windows` is what of it comes from
    windows that disagree, NaN where older versions did not say. `most` is where the scale ends.
    """
    if not math.isfinite(total):
        return []
    level = LEVELS[min(2, int(3 * total / most))]
    return [
        f"model unsure: {level}" + (", for its views of the frame disagree" if windows > total / 2 else "")
    ]


def shape_change(change: float, jumps: bool) -> str:
    """How the shape differs from that in the frame before.

    `change` is 1 - Dice of the two masks, NaN where one is missing.
    """
    if not math.isfinite(change):
        return ""
    return f"{'shape jumps' if jumps else 'shape'}: {change:.0%} unlike the frame before"


class ShapeWatcher(SessionWatcher):
    """Measures what changes in a session. Signals arrive in the thread it was made in."""

    measured = Signal()
    """`track` has news."""
    suggested = Signal(object)
    """The frames worth correcting next: a list of `Suggestion`."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.track = ShapeTrack(session)
        self.begin()

    def on_changed(self, frames: set[int]) -> None:
        """Measure the frames."""
        reported = time.monotonic()
        for _ in self.track.measure(frames, self.stop):
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self.measured.emit()
        if not self.stop.is_set():
            self.measured.emit()
            self.stop.wait(REPORT_SECONDS)  # what changes meanwhile is measured together

    def on_quiet(self) -> None:
        """Suggest frames again."""
        found = worth_correcting(self.session, SUGGESTIONS)
        if not self.stop.is_set():
            self.suggested.emit(found)
