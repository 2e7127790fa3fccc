"""The controller of one video layer: its session, masks layer and jobs.

The widgets show a controller and call it. They keep no state of their own about the video. A controller lives as long
as its image layer, and closes session and video when the layer is removed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication
from vivim.errors import SessionError
from vivim.registry.registry import ModelCache
from vivim.session import STATUS_NAMES, MaskEditor, Session
from vivim.settings import Settings

from napari_vivim.background.worker import Job, Worker, close_in_background
from napari_vivim.controller import jobs
from napari_vivim.controller.idle_precompute import IdlePrecompute
from napari_vivim.controller.mask_editing import MaskEditing, frames_around
from napari_vivim.controller.prompt_tool import PromptTool
from napari_vivim.layers.lesion_layer import LesionLayer
from napari_vivim.layers.masks_layer import (
    MasksLayer,
    add_copy,
    class_features,
    masks_layer,
    part_from_session,
    shows,
)
from napari_vivim.layers.time_axis import Framing, Loop, nearest_frame, remove_soon, show_alone, show_frame
from napari_vivim.layers.video_frames import PATH_KEY, SESSION_KEY, Scrubbing, ShownFrames
from napari_vivim.qt.components import single_shot
from napari_vivim.qt.napari_window import darken_canvas, main_window, set_play_speed
from napari_vivim.qt.notifications import guarded, show_problem

_log = logging.getLogger(__name__)
CONTROLLER_KEY = "vivim_controller"
REFRESH_SECONDS = 0.1
"""While proposing, the shown frame's masks are redrawn at most this often."""


def controller_of(viewer: napari.Viewer, layer: Image) -> VideoController:
    """The controller of a video layer. The first call makes it."""
    if CONTROLLER_KEY not in layer.metadata:
        layer.metadata[CONTROLLER_KEY] = VideoController(viewer, layer)
    return layer.metadata[CONTROLLER_KEY]


def video_layers(viewer: napari.Viewer) -> list[Image]:
    """Image layers of a viewer that are videos this plugin opened."""
    videos = (layer for layer in viewer.layers if isinstance(getattr(layer, "data", None), ShownFrames))
    return [layer for layer in videos if isinstance(layer, Image) and PATH_KEY in layer.metadata]


def controllers(viewer: napari.Viewer) -> dict[Image, VideoController | None]:
    """The video layers of a viewer, with their controllers as far as they have been made."""
    return {layer: layer.metadata.get(CONTROLLER_KEY) for layer in video_layers(viewer)}


class VideoController(QObject):
    """Session, masks and long work of one video layer. Signals arrive in the window's thread."""

    job_started = Signal(str)
    """"propose", "finetune", "export", "import" or "open" began."""
    job_event = Signal(object)
    job_failed = Signal(str, object)
    job_ended = Signal(str, bool)
    """A job is over: its name, and whether it was finished."""
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
        super().__init__()
        self.worker = Worker(f"vivim-{layer.name}")
        self.job: Job | None = None
        self.job_name = ""
        self.viewer, self.layer = viewer, layer
        self.session: Session | None = None
        self.masks: MasksLayer | None = None
        self._opened: list[Session] = []
        """The session that a job has opened, until it is taken over."""
        self._editor: MaskEditor | None = None
        self.editing: MaskEditing | None = None
        """What a person does to the masks, while the session is open."""
        self.prompting: PromptTool | None = None
        """Clicks, boxes and scribbles, while the session is open."""
        self.reader: str | None = None
        """Who was chosen to work on this video; the one of the settings if it is None."""
        self.update_neighbours, self.reach = True, 0
        """Whether a prompted mask renews the frames around it, and how many to each side, 0 for all."""
        self.model = ""
        """The model that this video was worked on with last, empty for the default one."""
        self._next: Callable[[], None] | None = None
        """What to propose once the run that is being stopped has ended."""
        self.lesions: LesionLayer | None = None
        """The layer that tells lesions apart, while it is shown."""
        self.replayed: tuple[Path, ...] = ()
        """Folders of the other sessions that the last fine-tune learned from."""
        self._scrubbing = Scrubbing(viewer, layer)
        self._framing = Framing(viewer, layer)
        self.loop = Loop(viewer, layer, getattr(layer.data.video, "fps", None))
        self._models, self._prompt_models = ModelCache(), ModelCache()  # one for each thread
        self.warming: Job | None = None
        """Loads the model in advance. A job of the person's waits for it."""
        self.precompute = IdlePrecompute(self, self.worker, self._models.load, self._claim_precompute)
        self._drawn, self._gone = 0.0, False
        self._first_shown = nearest_frame(viewer, layer)
        self._classes: tuple[str, ...] = ()
        self.frame_changed.connect(self._on_frame_changed)
        self.model_made.connect(self._on_model_made)
        self.job_started.connect(lambda name: self.precompute.stop())
        self.job_ended.connect(lambda name, finished: self.precompute.schedule())
        self.closing_failed.connect(show_problem)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(part_from_session)  # stays when the video goes
        viewer.dims.events.point.connect(self.precompute.pause)
        self._play_speed = single_shot(self, 0, self._set_play_speed)  # napari makes its sliders first
        viewer.dims.events.range.connect(self._on_range)
        self._play_speed.start()
        darken_canvas(viewer)
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
        """Number of the frame on screen, or of the nearest one where the slider is past the ends of the video."""
        return nearest_frame(self.viewer, self.layer)

    def go_to(self, frame: int) -> None:
        """Show a frame."""
        show_frame(self.viewer, self.layer, frame)

    def step(self, frames: int) -> None:
        """Go some frames on, or back, no farther than the ends of the video."""
        self.go_to(min(max(0, self.current_frame + frames), self.layer.data.shape[0] - 1))

    def _on_range(self, event: Any) -> None:
        self._play_speed.start()

    def _set_play_speed(self) -> None:
        """Let *Play* show the video at its own speed, whatever the steps of the slider are."""
        axis, fps = self.viewer.dims.ndim - self.layer.ndim, getattr(self.layer.data.video, "fps", None)
        if fps and not self._gone:
            set_play_speed(
                self.viewer, axis, float(fps * self.layer.scale[0] / self.viewer.dims.range[axis].step)
            )

    def show_alone(self) -> None:
        """Show this video and its layers, and hide the other videos."""
        others = controllers(self.viewer)
        del others[self.layer]
        hidden = [[layer] if other is None else other.layers for layer, other in others.items()]
        if show_alone(self.viewer, self.layers, hidden):
            self._framing.note_fit()
        self._end_other_precomputing()
        self.precompute.schedule()
        self.go_to(self.current_frame)  # the slider may be past its end
        self.viewer.layers.selection.active = self.masks or self.layer

    @property
    def layers(self) -> list[Layer]:
        """The layers of this video, the picture first."""
        lesions = self.lesions.layer if self.lesions is not None else None
        return [layer for layer in (self.layer, self.masks, lesions) if layer is not None]

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

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.job is not None

    # -- the session ----------------------------------------------------------------------------------------------

    def open_session(self, folder: Path | None = None, relink: bool = False, read_only: bool = False) -> None:
        """Open or resume the session in the background. `opened` or `job_failed` follows.

        It lives in `folder`, instead of where the layer says or beside the video. `relink` takes the video for the
        session's although its content has changed. With `read_only` masks are shown and exported, and none changes.
        """
        if self.session is not None or self.busy:
            return
        if folder is not None:
            self.layer.metadata[SESSION_KEY] = str(folder)
        path, reader, opened = self.video_path, self.reader, self._opened
        chosen = self.layer.metadata.get(SESSION_KEY) or self.layer.metadata.get("vivim_session_folder")
        self._begin(
            "open", lambda stop: jobs.open_session(path, chosen, reader, relink, read_only, opened, stop)
        )

    def change_reader(self, reader: str) -> None:
        """Close the session, and open the one of another reader, who is remembered."""
        self.reader, masks = reader, self.masks
        self._close_session()
        if masks is not None:
            remove_soon(self.viewer, masks)
        if self.busy:
            self._next = self.open_session
        else:
            self.open_session()

    def _session_opened(self, session: Session, settings: Settings) -> None:
        self.session = session
        session.on_change(self.frame_changed.emit)
        self._editor = session.editable()
        self.masks = masks_layer(session, self._editor, self.layer, settings, self._add_copy)
        self.masks.editable = not session.read_only
        self.editing = MaskEditing(self.viewer, session, self._editor, self.masks, self.suggested.emit)
        self.prompting = PromptTool(self.viewer, session, self.masks, self.editing, self._prompt_models.load)
        self.prompting.taken.connect(self._on_prompted)
        for key, action in (("Control-Z", self.undo), ("Control-Shift-Z", self.editing.redo)):
            self.masks.bind_key(key, lambda layer, action=action: guarded(action), overwrite=True)
        self.viewer.add_layer(self.masks)
        self._classes = session.classes
        if not self.model and (proposed := session.latest("model")) is not None:
            self.model = proposed.author
        if (worked := session.latest("person")) is not None and self.current_frame == self._first_shown:
            self.go_to(worked.frame)  # unless the person has gone somewhere meanwhile
        self.opened.emit()
        self.warm_up()
        self.precompute.schedule()

    def _add_copy(self, data: Any) -> None:
        if self.masks is not None:
            add_copy(self.viewer, self.masks, data)

    def outline_lesions(self, wanted: bool) -> None:
        """Show or remove a layer that outlines each lesion in a colour of its own."""
        if wanted and self.lesions is None and self.session is not None and self.masks is not None:
            name = f"{self.layer.name} lesions"
            self.lesions = LesionLayer(self.viewer, name, self.masks, self.session)
            self.lesions.closed.connect(self._on_lesions_closed)
        elif not wanted and self.lesions is not None:
            self.lesions.close()

    def _on_lesions_closed(self) -> None:
        self.lesions = None
        self.lesions_closed.emit()

    def restyle(self, settings: Settings) -> None:
        """Show the masks in the colours that the settings say."""
        if self.masks is not None:
            self.masks.restyle(settings)
            self.classes_changed.emit()

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the video's classes 1 and up. A `SessionError` where a name is empty or there twice."""
        if self.session is None:
            return
        try:
            self.session.name_classes(names)
        except ValueError as error:
            raise SessionError(str(error)) from error
        self._name_classes()

    def _name_classes(self) -> None:
        """Show the names that a model or a person has brought."""
        if self.masks is not None and self.session is not None and self.session.classes != self._classes:
            self._classes = self.session.classes
            self.masks.features = class_features(self._classes)
            self.classes_changed.emit()

    # -- work -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Load the default model and run it once, in the worker, so that the first mask comes soon after the click."""
        stop = threading.Event()
        self.warming = Job(lambda: jobs.warm_up(self._models.load, stop), stop)
        self.warming.failed.connect(lambda error: _log.info("Not ready in advance: %s", error))
        self.warming.ended.connect(self._on_warm)
        self.worker.submit(self.warming)

    def _on_warm(self, finished: bool) -> None:
        self.warming = None
        self.precompute.schedule()

    def cancel(self) -> None:
        """Stop the running job. What it has done stays."""
        for job in (self.warming, self.job):
            if job is not None:
                job.cancel()

    def propose(self, model_name: str, device: str) -> None:
        """Propose masks for all frames no person has touched, outward from the one on screen."""
        self._run_with_model("propose", jobs.propose, model_name, device, None)

    def undo(self) -> None:
        """Take back the last prompt, or else the last edit."""
        if self.editing is not None and not (self.prompting is not None and self.prompting.undo()):
            self.editing.undo()

    def propagate(self, *, backward: bool = False, forward: bool = False) -> None:
        """Propose the frames around the one on screen again, as far as `reach` and the next corrected frame.

        A run of proposing that is under way gives way.
        """
        if self.session is None:
            return
        done, here = self.session.frames_with("corrected", "accepted"), self.current_frame
        reach = self.reach or len(self.session)
        frames = frames_around(
            here, len(self.session), done, reach if backward else 0, reach if forward else 0
        )
        assert self.prompting is not None  # there is one as long as the session is open
        model, device = self.prompting.model, self.prompting.device
        self._next = lambda: self._run_with_model("propose", jobs.propose, model, device, frames)
        if self.busy and self.job_name == "propose":
            self.cancel()
        elif not self.busy:
            self._run_next()

    def _run_next(self) -> None:
        wanted, self._next = self._next, None
        if wanted is not None:
            wanted()

    def _on_prompted(self, frame: int) -> None:
        if self.update_neighbours:
            self.propagate(backward=True, forward=True)

    def finetune(self, model_name: str, device: str, scope: str, others: Sequence[Path] = ()) -> None:
        """Learn from the corrected frames of this video and `others`. A better version renews the proposals."""
        if not self.busy:
            self.replayed = tuple(others)
        standby = self.precompute.standby
        self._run_with_model("finetune", jobs.finetune, model_name, device, scope, tuple(others), standby)

    def export(self, folder: Path, formats: list[str], **options: Any) -> None:
        """Export masks into a folder, with the options of `vivim.io.export.export`."""
        self._run("export", jobs.export, folder, formats, options)

    def import_masks(self, path: Path, status: str, one_class: bool = False) -> None:
        """Bring masks made elsewhere into the session, as ``"corrected"`` or ``"proposed"``."""
        self._run("import", jobs.import_masks, path, status, one_class)

    def _run_with_model(
        self, name: str, work: Callable[..., Iterator[Any]], model_name: str, device: str, *arguments: Any
    ) -> None:
        if not self.busy:
            self.model = self.precompute.model = model_name
            self.precompute.device = device
        start = self.current_frame
        self._run(name, work, self._models.load, model_name, start, device, *arguments)

    def _run(self, name: str, work: Callable[..., Iterator[Any]], *arguments: Any) -> None:
        """Begin a job on the session, if that is open and there is no job."""
        session = self.session
        if session is not None and not self.busy:
            self._begin(name, lambda stop: work(session, *arguments, stop))

    def _begin(self, name: str, work: Callable[[threading.Event], Iterator[Any]]) -> None:
        """Begin a job, called `name` in the signals, while there is none.

        ``work(stop)``, called in the worker's thread, returns a generator of the items to report. `stop` is set on
        cancelling.
        """
        stop = threading.Event()
        job = Job(lambda: work(stop), stop)
        self.job, self.job_name = job, name
        job.event.connect(self._on_event)
        job.failed.connect(lambda error: self.job_failed.emit(name, error))
        job.ended.connect(self._on_ended)
        self.job_started.emit(name)
        self.worker.submit(job)

    def _claim_precompute(self) -> tuple[Session, int] | None:
        """The session and the frame on screen, if there is something to precompute and nothing else to do."""
        session = self.session
        if session is None or session.read_only or self.busy or self.warming is not None:
            return None
        if not session.frames_with("corrected", "accepted"):
            return None
        self._end_other_precomputing()
        return session, self.current_frame

    def _end_other_precomputing(self) -> None:
        """End the processes that the viewer's other videos keep ready, of some 250 MB each."""
        for other in self.others():
            other.precompute.close()

    def close(self) -> None:
        """Stop all work and close the session and the video. Safe to call twice."""
        if self._gone:
            return
        self._gone = True
        self.viewer.dims.events.point.disconnect(self.precompute.pause)
        self.viewer.dims.events.range.disconnect(self._on_range)
        self.worker.close()
        self._scrubbing.close()
        self._framing.close()
        self.loop.end()
        self._close_session()
        data, others = self.layer.data, (layer for layer in self.viewer.layers if layer is not self.layer)
        if isinstance(data, ShownFrames) and not any(shows(layer, data.video) for layer in others):
            close_in_background([data.video], [], self.closing_failed.emit)

    def _close_session(self) -> None:
        """Close the session in the background. `open_session` resumes the work."""
        self.cancel()
        self.precompute.close()
        if self.lesions is not None:
            self.lesions.close()
        self.masks = None
        under_way = [job for job in (self.job, self.precompute.job) if job is not None]
        self._next = None
        if self.prompting is not None:
            under_way += self.prompting.close()
            self.prompting = None
        if self.editing is not None:
            under_way += self.editing.close()
            self.editing = None
        if self._editor is not None:
            self._editor.close()
            self._editor = None
        opened = [*self._opened]
        self._opened.clear()
        if self.session is not None:
            opened.insert(0, self.session)
            self.session = None
            self.closed.emit()
        if opened or self.job_name == "open":
            close_in_background(opened, under_way, self.closing_failed.emit)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _on_event(self, event: Any) -> None:
        """Take over an open session or a new version, and pass on progress."""
        if self.job_name == "open":
            session, settings = event
            try:
                self._opened.remove(session)
            except ValueError:  # the job was cancelled meanwhile, and has closed it
                return
            self._session_opened(session, settings)
            return
        self._name_classes()
        if getattr(event, "kind", "") == "finished" and event.promoted:
            self.model_made.emit(event.name)
        self.job_event.emit(event)

    def _on_ended(self, finished: bool) -> None:
        """Show the masks as the job left them."""
        name, self.job, self.job_name = self.job_name, None, ""
        if self.masks is not None and name in ("propose", "finetune", "import"):
            self.masks.refresh()
        self.job_ended.emit(name, finished)
        if self._next is not None:
            QTimer.singleShot(0, self._run_next)

    def _on_model_made(self, name: str) -> None:
        self.model = self.precompute.model = name

    def _on_frame_changed(self, frame: int, status: str) -> None:
        if status == "proposed":
            self._redraw(frame)
        else:
            self.precompute.stop()
            if not self.busy:
                self.precompute.schedule()

    def _redraw(self, frame: int) -> None:
        """Show a mask that a model has just written. Strokes are on screen already."""
        if self.masks is None or frame != self.current_frame:
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
            if masks is not None:
                remove_soon(self.viewer, masks)
            self.layer.metadata.pop(CONTROLLER_KEY, None)
