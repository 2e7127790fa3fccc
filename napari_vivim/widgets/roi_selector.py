"""The region of interest that models work on, as a box to tick and a rectangle to drag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from napari.layers.base import ActionType
from qtpy.QtWidgets import QCheckBox
from vivim.errors import SessionError
from vivim.imaging import roi
from vivim.imaging.roi import Area
from vivim.session import Session
from vivim.video.content_area import content_area

from napari_vivim.background.worker import Job, Worker
from napari_vivim.layers.time_axis import remove_soon
from napari_vivim.qt.notifications import guarded, show_problem

if TYPE_CHECKING:
    from napari_vivim.controller.video_controller import VideoController

EDGE = "#ffd400"
WORTHWHILE = 0.9
"""An area larger than this part of the picture is not offered: models would see little more."""
TIP = (
    "Models see only this part of the picture, and see it larger; masks are still of the whole picture.\n"
    "Found is what lies within black borders, letters and scales; drag the yellow rectangle to change it."
)


class RoiSelector(QCheckBox):
    """Offers to let models work on a part of the picture. Hidden where the video nearly fills it."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(TIP)
        self._controller: VideoController | None = None
        self._found: Area | None = None
        self._layer: Shapes | None = None
        self._worker = Worker("vivim-area")
        worker = self._worker
        self.destroyed.connect(lambda: worker.close())
        self.clicked.connect(self._choose)
        self.hide()

    def follow(self, controller: VideoController | None) -> None:
        """Offer the region of a video whose session is open. None hides the box."""
        self._take_rectangle_away()
        self._controller, self._found = controller, None
        self.hide()
        if controller is None or controller.session is None:
            return
        self._found = controller.session.area
        self._show()
        if self._found is None:
            self._look_for(controller, controller.session)

    def _look_for(self, controller: VideoController, session: Session) -> None:
        """Find it in the background, because some frames have to be decoded."""

        def work() -> Iterator[Area | None]:
            found = roi.check_area(content_area(session.video), session.shape[1:])
            height, width = roi.size_of(found, session.shape[1:])
            yield found if height * width < WORTHWHILE * session.shape[1] * session.shape[2] else None

        def show(found: Area | None) -> None:
            if self._controller is controller and self._found is None:
                self._found = found
                self._show()

        self._job = Job(work)
        self._job.event.connect(show)
        self._job.failed.connect(show_problem)
        self._worker.submit(self._job)

    def _show(self) -> None:
        """Show what is offered, with a tick where it is used."""
        session = self._controller.session if self._controller is not None else None
        self.setVisible(session is not None and self._found is not None)
        if session is None or self._found is None:
            return
        height, width = roi.size_of(self._found, session.shape[1:])
        self.setText(f"Picture area only ({width} x {height})")
        self.setChecked(session.area is not None)
        if session.area is not None:
            self._show_rectangle(session.area)

    def _choose(self, wanted: bool) -> None:
        controller = self._controller
        if controller is None or controller.session is None:
            return
        session = controller.session
        guarded(lambda: session.set_area(self._found if wanted else None))
        if not wanted:
            self._take_rectangle_away()
        self._show()

    def _show_rectangle(self, shown: Area) -> None:
        controller = self._controller
        assert controller is not None
        if self._layer is not None:
            return
        image = controller.layer
        self._layer = Shapes(
            [_corners(shown)],
            name=f"{image.name} area",
            scale=image.scale[1:3],
            units=image.units[1:3],
            axis_labels=image.axis_labels[1:3],
            face_color="transparent",
            edge_color=EDGE,
            edge_width=max(2, min(image.data.shape[1:3]) // 250),
        )
        controller.viewer.add_layer(self._layer)
        controller.viewer.layers.selection.active = controller.masks  # strokes go on where they went
        self._layer.events.data.connect(self._on_dragged)
        controller.viewer.layers.events.removed.connect(self._on_removed)

    def _take_rectangle_away(self) -> None:
        layer, controller, self._layer = self._layer, self._controller, None
        if layer is not None and controller is not None:
            controller.viewer.layers.events.removed.disconnect(self._on_removed)
            remove_soon(controller.viewer, layer)

    def _on_dragged(self, event: Any) -> None:
        """Take the rectangle that the person has drawn, within the picture."""
        controller, layer = self._controller, self._layer
        if controller is None or controller.session is None or layer is None or not len(layer.data):
            return
        session = controller.session
        if event.action == ActionType.CHANGING:
            return  # it is still being dragged
        corners = np.asarray(layer.data[0])
        low = np.clip(np.floor(corners.min(axis=0)), 0, None).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 1, session.shape[1:])
        try:
            session.set_area((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
        except (SessionError, ValueError) as error:
            show_problem(error)
        self._found = session.area or self._found
        self._show()

    def _on_removed(self, event: Any) -> None:
        """Forget the rectangle. The box alone shows whether the area is used."""
        if event.value is self._layer:
            self._take_rectangle_away()


def _corners(shown: Area) -> np.ndarray:
    """Rectangle ``(4, 2)`` through the centres of the outermost pixels of an area."""
    y0, x0, y1, x1 = shown
    return np.array([[y0, x0], [y0, x1 - 1], [y1 - 1, x1 - 1], [y1 - 1, x0]], float)
