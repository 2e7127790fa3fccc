"""Vivim Timeline: all frames of the video under the canvas."""

from __future__ import annotations

import html
from typing import Any

import napari
import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QSizePolicy, QVBoxLayout, QWidget
from vivim.analysis.active_learning import Suggestion
from vivim.session import STATUS_CODES
from vivim.video.base import Video

from napari_vivim.controller.video_controller import VideoController, controller_of, video_layers
from napari_vivim.layers.video_frames import ShownFrames
from napari_vivim.layers.visibility import fit, nearly_whole
from napari_vivim.qt.components import LAID_OUT_MS, parent_of, plural, single_shot
from napari_vivim.qt.notifications import show_problem
from napari_vivim.qt.plain_text import PlainLabel
from napari_vivim.timeline.frame_description import shape_change, uncertainties
from napari_vivim.timeline.legend import Legend
from napari_vivim.timeline.rendering import STATUS_COLORS, STATUS_GLYPHS
from napari_vivim.timeline.shape_watcher import ShapeWatcher
from napari_vivim.timeline.thumbnails import HoverCard, Thumbnails
from napari_vivim.timeline.timeline_view import (
    AREA_COLOR,
    DAMAGED_COLOR,
    JUMP_COLOR,
    SUGGESTED_COLOR,
    TimelineView,
)

PLUGIN, TITLE = "napari-vivim", "Vivim Timeline"
NAME = f"{TITLE} ({PLUGIN})"
"""What napari calls the dock."""
REDRAW_MS = 50
"""While masks are proposed, statuses are drawn anew at most this often."""
EMPTY = "Drag a video onto the window: all its frames appear here"


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
        self._fit_next = single_shot(self, LAID_OUT_MS, self._fit_picture)
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
            self._on_closed()
        self.controller = controller
        controller.opened.connect(self._on_opened)
        controller.closed.connect(self._on_closed)
        controller.frame_changed.connect(self._on_frame_changed)
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
        self.watch, self.thumbnails, self.suggestions = None, None, []
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
            if self.controller is not None and nearly_whole(self.controller.layer):
                self._fit_next.start()  # nobody has zoomed in yet
            bottom = Qt.DockWidgetArea.BottomDockWidgetArea
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            if window.dockWidgetArea(dock) != bottom:
                window.addDockWidget(bottom, dock)

    def _fit_picture(self) -> None:
        """Show the whole picture again, after docks have taken room from it."""
        if self.controller is not None:
            fit(self.viewer, self.controller.layer)

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

    def _show_frames(self) -> None:
        session = self.controller.session if self.controller is not None else None
        if session is None:
            self.view.set_frames(np.zeros(0, np.uint8), np.zeros(0, np.float32))
            opening = self.controller is not None and self.controller.busy
            self.legend.show_parts(["Opening ..." if opening else EMPTY])
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
            self._show_legend()

    def _show_suggested(self, found: list[Suggestion]) -> None:
        self.suggestions = found
        self.view.set_suggested([one.frame for one in found])
        self._show_legend()

    def _show_legend(self) -> None:
        if self.controller is None:
            return
        parts = [
            f"<span style='color:{STATUS_COLORS[name]}'>{STATUS_GLYPHS[name]}</span>&nbsp;{count:,}&nbsp;{name}"
            for name, count in self.controller.counts().items()
        ]
        view = self.view
        if view.damaged:
            parts.append(
                f"<span style='color:{DAMAGED_COLOR}'>✕</span>&nbsp;{len(view.damaged):,}&nbsp;damaged"
            )
        if np.isfinite(view.uncertain).any():
            most_uncertain = f"{np.nanmax(view.uncertain):.2f}"
            parts.append(f"<b>—</b>&nbsp;model unsure, up&nbsp;to&nbsp;{most_uncertain}&nbsp;bits")
        if np.isfinite(view.areas).any():
            most = self._area_text(float(np.nanmax(view.areas)))
            parts.append(f"<span style='color:{AREA_COLOR}'>■</span>&nbsp;area, up&nbsp;to&nbsp;{most}")
        if len(view.jumps):
            jumps = plural(len(view.jumps), "jump").replace(" ", "&nbsp;")
            parts.append(f"<span style='color:{JUMP_COLOR}'>▲</span>&nbsp;{jumps}")
        if view.suggested:
            parts.append(f"<span style='color:{SUGGESTED_COLOR}'>◆</span>&nbsp;next&nbsp;(N)")
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
            return f"{area:.3g}&nbsp;mm²"
        _, height, width = self.controller.session.shape
        return f"{area / (height * width):.1%} of the picture".replace(" ", "&nbsp;")

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
            lines.append(f"<span style='color:{DAMAGED_COLOR}'>✕</span> damaged: {problem}")
        lines += uncertainties(float(view.uncertain[frame]), float(session.disagreement[frame]))
        jumps = frame in view.jumps
        shape = shape_change(
            float(self.watch.track.changes[frame]) if self.watch is not None else np.nan, jumps
        )
        if shape:
            lines.append(f"<span style='color:{JUMP_COLOR}'>▲</span> {shape}" if jumps else shape)
        lines += [
            f"<span style='color:{SUGGESTED_COLOR}'>◆</span> next: {html.escape(one.reason)}"
            for one in self.suggestions
            if one.frame == frame
        ]
        return "<br>".join(lines)
