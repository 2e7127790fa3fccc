"""Everything one video layer has beside its picture: session, masks layer, jobs.

The widgets show a controller and call it; they keep no state of their own about the video. A controller lives as
long as its image layer, and closes the session when the layer goes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication
from vivim.session import STATUS_NAMES, MaskEditor, Session

from napari_vivim.background.imports import look_at_all_again, look_at_new_things_only
from napari_vivim.background.session_closing import close_in_background
from napari_vivim.background.worker import Job
from napari_vivim.controller import jobs
from napari_vivim.controller.idle_precompute import IdlePrecompute
from napari_vivim.controller.jobs import Jobs
from napari_vivim.controller.mask_editing import Editing
from napari_vivim.controller.model_cache import LoadedModel
from napari_vivim.layers.class_colors import appearance, class_features
from napari_vivim.layers.lesion_layer import LesionLayer
from napari_vivim.layers.masks_layer import masks_layer
from napari_vivim.layers.scrubbing import Scrubbing
from napari_vivim.layers.video_frames import PATH_KEY, SESSION_KEY
from napari_vivim.layers.visibility import show_alone
from napari_vivim.qt.napari_window import main_window
from napari_vivim.qt.notifications import guarded, show_problem

_log = logging.getLogger(__name__)
CONTROLLER_KEY = "vivim_controller"
REFRESH_SECONDS = 0.1
"""While proposing, the shown frame's masks are redrawn at most this often."""


def controller_of(viewer: napari.Viewer, layer: Image) -> VideoController:
    """The controller of a video layer, made at the first call."""
    if CONTROLLER_KEY not in layer.metadata:
        layer.metadata[CONTROLLER_KEY] = VideoController(viewer, layer)
    return layer.metadata[CONTROLLER_KEY]


def video_layers(viewer: napari.Viewer) -> list[Image]:
    """Image layers of a viewer that are videos this plugin opened."""
    return [layer for layer in viewer.layers if isinstance(layer, Image) and PATH_KEY in layer.metadata]


def controllers(viewer: napari.Viewer) -> dict[Image, VideoController | None]:
    """The video layers of a viewer, with their controllers as far as they have been made."""
    return {layer: layer.metadata.get(CONTROLLER_KEY) for layer in video_layers(viewer)}


class VideoController(Jobs):
    """Session, masks and long work of one video layer. Signals arrive in the window's thread."""

    opened = Signal()
    """The session is open and the masks layer is there."""
    frame_changed = Signal(int, str)
    """A frame's mask or status changed: frame, status."""
    model_made = Signal(str)
    """This version is to be used from now on: fine-tuning made a better one, or the person chose it."""
    classes_changed = Signal()
    """The classes have other names or colours."""
    suggested = Signal(object)
    """The person was led to this frame: a `vivim.analysis.active_learning.Suggestion`."""
    lesions_closed = Signal()
    """Lesions are no longer told apart."""
    closed = Signal()
    """The session is let go of."""
    closing_failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, layer: Image) -> None:
        super().__init__(f"vivim-{layer.name}")
        self.viewer, self.layer = viewer, layer
        self.session: Session | None = None
        self.masks: Labels | None = None
        self._opened: list[Session] = []
        """The session that is open, also before it is taken over from the job that opens it."""
        self._editor: MaskEditor | None = None
        self.editing: Editing | None = None
        """What a person does to the masks, while the session is open."""
        self.lesions: LesionLayer | None = None
        """The layer that tells lesions apart, while it is shown."""
        self.hide_others: list[Layer] = []
        """Layers hidden because another video was chosen."""
        self.replayed: tuple[Path, ...] = ()
        """Folders of the other sessions that the last fine-tune learned from."""
        self._scrubbing = Scrubbing(viewer, layer)
        self._models = LoadedModel()
        self.ahead = IdlePrecompute(self, self.worker, self._models.load)
        self._drawn, self._gone = 0.0, False
        self._classes: tuple[str, ...] = ()
        self.frame_changed.connect(self._redraw)
        self.closing_failed.connect(show_problem)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.current_step.connect(self.ahead.make_way)
        # napari keeps the layers of a window that is closed by its X, or by quitting
        main_window(viewer).destroyed.connect(self.close)
        application = QApplication.instance()
        assert application is not None  # a viewer has one
        application.aboutToQuit.connect(self.close)

    # -- what is shown --------------------------------------------------------------------------------------------

    @property
    def video_path(self) -> Path:
        """The video file or folder."""
        return Path(self.layer.metadata[PATH_KEY])

    @property
    def current_frame(self) -> int:
        """Number of the frame on screen."""
        return int(self.viewer.dims.current_step[0]) if self.viewer.dims.ndim > 2 else 0

    def go_to(self, frame: int) -> None:
        """Show a frame."""
        self.viewer.dims.set_current_step(0, frame)

    def show_alone(self) -> None:
        """Show this video and what belongs to it, its last frame where it is shorter; hide the others."""
        others = controllers(self.viewer)
        del others[self.layer]
        show_alone(self, others)
        self.ahead.come_to_front()
        if self.current_frame >= len(self.layer.data):
            self.go_to(len(self.layer.data) - 1)
        self.viewer.layers.selection.active = self.masks or self.layer

    def others(self) -> list[VideoController]:
        """The controllers of the viewer's other videos."""
        found = controllers(self.viewer).values()
        return [one for one in found if one is not None and one is not self]

    def counts(self) -> dict[str, int]:
        """Frames by status."""
        if self.session is None:
            return dict.fromkeys(STATUS_NAMES, 0)
        codes = self.session.statuses
        return {name: int((codes == code).sum()) for code, name in enumerate(STATUS_NAMES)}

    # -- the session ----------------------------------------------------------------------------------------------

    def open_session(self, folder: Path | None = None, relink: bool = False) -> None:
        """Open or resume the session, in the background; `opened` follows, or `job_failed`.

        Parameters
        ----------
        folder : Path, optional
            Where it lives, instead of where the layer says or beside the video.
        relink : bool
            Take the video for the session's although its content has changed.
        """
        if self.session is not None or self.busy:
            return
        if folder is not None:
            self.layer.metadata[SESSION_KEY] = str(folder)
        chosen = self.layer.metadata.get(SESSION_KEY) or self.layer.metadata.get("vivim_session_folder")
        stop = threading.Event()
        self.run("open", partial(jobs.opening, self.video_path, chosen, relink, self._opened, stop), stop)

    def _session_opened(self, session: Session) -> None:
        self.session = session
        session.on_change(self.frame_changed.emit)
        self._editor = session.editable()
        self.masks = masks_layer(session, self._editor, self.layer)
        self.editing = Editing(self, session, self._editor, self.masks)
        for key, action in (("Control-Z", self.editing.undo), ("Control-Shift-Z", self.editing.redo)):
            self.masks.bind_key(key, lambda layer, action=action: guarded(action), overwrite=True)
        self.viewer.add_layer(self.masks)
        self._classes = session.classes
        self.opened.emit()
        self.warm_up()

    def tell_lesions_apart(self, wanted: bool) -> None:
        """Show a layer that outlines each lesion in a colour of its own, the same in all frames; or take it away."""
        if wanted and self.lesions is None and self.session is not None:
            self.lesions = LesionLayer(self)
            self.lesions.closed.connect(self._on_lesions_closed)
        elif not wanted and self.lesions is not None:
            self.lesions.close()

    def _on_lesions_closed(self) -> None:
        self.lesions = None
        self.lesions_closed.emit()

    def restyle(self) -> None:
        """Show the masks in the colours that the settings say now."""
        if self.masks is not None:
            looks = appearance()
            self.masks.colormap, self.masks.opacity = looks["colormap"], looks["opacity"]
            self.classes_changed.emit()

    def _name_classes(self) -> None:
        """Show the names that a model has brought."""
        if self.masks is not None and self.session is not None and self.session.classes != self._classes:
            self._classes = self.session.classes
            self.masks.features = class_features(self._classes)
            self.classes_changed.emit()

    # -- work -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Load the default model and run it once, in the worker, so that the first mask comes soon after the click."""
        stop = threading.Event()
        self.warming = Job(partial(jobs.warming, self._models.load, stop), stop)
        self.warming.failed.connect(lambda error: _log.info("Not ready in advance: %s", error))
        self.warming.ended.connect(self._on_warm)
        self.worker.submit(self.warming)

    def _on_warm(self, finished: bool) -> None:
        self.warming = None

    def propose(self, model_name: str, device: str) -> None:
        """Propose masks for all frames no person has touched, outward from the one on screen."""
        if self.session is None or self.busy:
            return
        stop = threading.Event()
        self.ahead.used(model_name, device)
        where = (self.session, self._models.load, model_name, self.current_frame, device, stop)
        self.run("propose", partial(jobs.proposing, *where), stop)

    def finetune(self, model_name: str, device: str, scope: str, others: Sequence[Path] = ()) -> None:
        """Learn from the corrected frames, and those of `others`; a version that does better renews the proposals."""
        if self.session is None or self.busy:
            return
        stop, others = threading.Event(), tuple(others)
        self.replayed = others
        self.ahead.used(model_name, device)
        where = (self.session, self._models.load, model_name, self.current_frame, device, stop)
        self.run("finetune", partial(jobs.finetuning, *where, scope, others, self.ahead.standby), stop)

    def export(self, folder: Path, formats: list[str], **options: Any) -> None:
        """Export masks into a folder, with the options of `vivim.io.export.export`."""
        if self.session is None or self.busy:
            return
        self.run("export", partial(jobs.exporting, self.session, folder, formats, options))

    def import_masks(self, path: Path, status: str) -> None:
        """Bring masks made elsewhere into the session, as ``"corrected"`` or ``"proposed"``."""
        if self.session is None or self.busy:
            return
        self.run("import", partial(jobs.importing, self.session, path, status))

    def close(self) -> None:
        """Stop all work and let go of the session for good; safe to call twice."""
        if self._gone:
            return
        self._gone = True
        self.viewer.dims.events.current_step.disconnect(self.ahead.make_way)
        self.worker.close()
        self._scrubbing.close()
        self._close_session()
        look_at_all_again()

    def _close_session(self) -> None:
        """Let go of the session; all work is on disk, and `open_session` goes on with it."""
        self.cancel()
        self.ahead.close()
        self.masks = None
        under_way = [job for job in (self.job, self.ahead.job) if job is not None]
        if self.editing is not None:
            under_way += self.editing.close()
            self.editing = None
        if self._editor is not None:
            self._editor.close()
            self._editor = None
        sessions, self._opened = self._opened, []
        if self.session is not None:
            self.session = None
            self.closed.emit()
        if sessions or self.job_name == "open":
            close_in_background(sessions, under_way, self.closing_failed.emit)

    # -- inside ---------------------------------------------------------------------------------------------------

    def on_event(self, event: Any) -> None:
        """The running job reports: an open session, a new version, how far it is."""
        if isinstance(event, Session):
            if event in self._opened:  # else the video was closed meanwhile, and the session with it
                self._session_opened(event)
            return
        self._name_classes()
        if getattr(event, "kind", "") == "finished" and event.promoted:
            self.model_made.emit(event.name)
        super().on_event(event)

    def on_ended(self, name: str) -> None:
        """Show the masks as the job left them."""
        if self.masks is not None and name in ("propose", "finetune", "import"):
            self.masks.refresh()
        look_at_new_things_only()

    def _redraw(self, frame: int, status: str) -> None:
        """Show a mask that a model has just written under the person's eyes; strokes are on screen already."""
        if self.masks is None or frame != self.current_frame or status != "proposed":
            return
        if time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._drawn = time.monotonic()
            self.masks.refresh()

    def _on_removed(self, event: Any) -> None:
        if event.value is self.masks and self.masks is not None:
            self._close_session()
        if event.value is self.layer:
            self.viewer.layers.events.removed.disconnect(self._on_removed)
            masks = self.masks
            self.close()
            if masks in self.viewer.layers:
                self.viewer.layers.remove(masks)
            self.layer.metadata.pop(CONTROLLER_KEY, None)
