"""The tool *Prompt*: clicks, boxes and scribbles on the picture become the mask of the frame on screen.

A gesture is computed in a thread of its own, one after another. What came of it is shown as an outline, and becomes
a correction with Enter or on the way to another frame. Until then it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import napari
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from vivim.session import Session
from vivim.utils.lru_cache import LRUCache

from napari_vivim.background.worker import Job, Worker, load_torch
from napari_vivim.controller.mask_editing import MaskEditing
from napari_vivim.layers.prompt_marks import PromptMarks
from napari_vivim.layers.time_axis import frame_on_screen
from napari_vivim.qt.components import single_shot
from napari_vivim.qt.notifications import guarded, show_problem

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.prompting import EncodedFrame, PromptedFrame, Prompts

DRAG = 4
"""A press that moves over more pixels of the screen than that is a drag."""
ENCODED = 16
"""Encoded frames that are kept, of about 5 MB each."""
REST_MS = 150
"""Milliseconds on a frame after which it is encoded in advance."""
CURSOR = "cross"
STROKE = 1 / 80
"""Width of a scribble, as a part of the picture's shorter side."""

Place = tuple[float, float]


@dataclass(frozen=True)
class Prompted:
    """What a frame's prompts have led to. `mask` is ``(H, W)`` bool."""

    frame: int
    class_id: int
    prompts: Prompts
    mask: NDArray[np.bool_]

    @property
    def is_said(self) -> bool:
        """Whether anything is said beside the mask to start from."""
        said = self.prompts
        return bool(said.points) or said.box is not None or said.scribble is not None


class PromptTool(QObject):
    """Prompts on one open session by mouse, pen or finger.

    `load`, called in the tool's thread, returns a model by name.
    """

    changed = Signal()
    """It was switched on or off, or something else is prompted."""
    taken = Signal(int)
    """A prompted mask has become the correction of this frame."""

    def __init__(
        self,
        viewer: napari.Viewer,
        session: Session,
        masks: Labels,
        editing: MaskEditing,
        load: Callable[[str], Vivim],
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._masks, self._editing = viewer, session, masks, editing
        self._load = load
        self.model, self.device = "", ""
        """Model and device, chosen as by default where empty."""
        self.lesion = True
        """Whether a plain click marks lesion. A right-click or Alt marks the other."""
        self.active = False
        self.prompted: Prompted | None = None
        """What is shown and not yet taken."""
        self._marks: PromptMarks | None = None
        self._worker = Worker("vivim-prompt")
        self._jobs: list[Job] = []
        self._encoding: Job | None = None
        self._closed = False
        self._encoded: LRUCache[tuple, EncodedFrame] = LRUCache(ENCODED)
        self._under_way: tuple[int, int, PromptedFrame] | None = None
        """Frame, class and prompts, for the tool's thread alone."""
        self._frame: int | None = None
        """The frame whose prompts are shown."""
        self._before: list[Any] = []
        self._rest = single_shot(self, REST_MS, self._encode)

    # -- on and off -----------------------------------------------------------------------------------------------

    def toggle(self) -> None:
        """Switch on or off. What is prompted becomes a correction."""
        if self.active:
            self.stop()
        else:
            self.start()

    def start(self) -> None:
        """Take the mouse on the picture from now on."""
        if self.active:
            return
        self.active = True
        masks, viewer = self._masks, self._viewer
        viewer.layers.selection.active = masks
        masks.mode = "pan_zoom"
        masks.mouse_pan, masks.cursor = False, CURSOR
        self._marks = PromptMarks(viewer, masks)
        self._marks.show(None, None)
        self._before = list(viewer.mouse_double_click_callbacks)  # two quick clicks are no zoom here
        viewer.mouse_double_click_callbacks.clear()
        viewer.mouse_drag_callbacks.append(self._on_mouse)
        for key, action in self._keys().items():
            masks.bind_key(key, lambda _, action=action: guarded(action), overwrite=True)
        masks.events.mode.connect(self._on_mode)
        viewer.dims.events.point.connect(self._on_moved)
        viewer.layers.events.removed.connect(self._on_removed)
        self._frame = frame_on_screen(viewer, masks)
        self._rest.start()
        self.changed.emit()

    def stop(self) -> None:
        """Take what is prompted, and give the mouse back."""
        if not self.active:
            return
        self.take()
        self.active = False
        self._rest.stop()
        masks, viewer = self._masks, self._viewer
        masks.events.mode.disconnect(self._on_mode)
        viewer.dims.events.point.disconnect(self._on_moved)
        viewer.layers.events.removed.disconnect(self._on_removed)
        viewer.mouse_drag_callbacks.remove(self._on_mouse)
        viewer.mouse_double_click_callbacks.extend(self._before)
        for key in self._keys():
            masks.bind_key(key, None, overwrite=True)
        if masks.mode == "pan_zoom":
            masks.mouse_pan, masks.cursor = True, "standard"
        if self._marks is not None:
            self._marks.close()
            self._marks = None
        self.changed.emit()

    def close(self) -> list[Job]:
        """Take what is shown and switch off. Returns the jobs to wait for before the session closes."""
        if self.prompted is not None:
            self._correct(self.prompted)
        self._closed = True
        self.stop()
        self._worker.close()
        return [job for job in (*self._jobs, self._encoding) if job is not None]

    def _keys(self) -> dict[str, Callable[[], object]]:
        """Keys that mean something else while the tool is on."""
        keys: dict[str, Callable[[], object]] = {
            "Enter": self.take,
            "Escape": self.drop,
            "Backspace": self.delete_last,
        }
        keys |= {str(label): partial(self._choose_class, label) for label in range(1, 10)}
        return keys

    def _choose_class(self, label: int) -> None:
        """Prompt this class from now on, if the video has it. What is prompted becomes a correction."""
        if label <= len(self._session.classes) and label != self._masks.selected_label:
            self.take()
            self._masks.selected_label = label

    # -- what the person says -------------------------------------------------------------------------------------

    def take(self) -> None:
        """Make what is prompted the correction of its frame."""
        if self._frame is None or (self.prompted is None and not self._jobs):
            return
        frame = self._frame

        def show(found: Prompted | None) -> None:
            if frame == self._frame:
                self._show(None)
            if found is not None and found.is_said:
                self._correct(found)

        self._do(frame, self._forget, show)
        self._show(None)

    def drop(self) -> None:
        """Forget what is prompted, and leave the frame as it was."""
        if self._frame is not None:
            self._do(self._frame, self._forget, lambda found: self._show(None))
        self._show(None)

    def undo(self) -> bool:
        """Take the last prompt back. False where there is none, so that a stroke is next."""
        if not self.active or self._frame is None or (self.prompted is None and not self._jobs):
            return False
        self._do(self._frame, lambda prompted: prompted.undo(), self._show)
        return True

    def delete_last(self) -> None:
        """Delete the point that was set last, or the box where there is no point."""

        def change(prompted: PromptedFrame) -> None:
            prompts = prompted.prompts
            if prompts.points:
                prompted.replace(prompts.without_point(len(prompts.points) - 1))
            elif prompts.box is not None:
                prompted.replace(prompts.with_box(None))

        if self._frame is not None and (self.prompted is not None or self._jobs):
            self._do(self._frame, change, self._show)

    def add_point(self, place: Place, lesion: bool) -> None:
        """Mark a place ``(row, column)`` of the frame on screen."""
        self._prompt(lambda prompted: prompted.add_point(*place, int(lesion)))

    def add_box(self, box: Sequence[float]) -> None:
        """Put a box ``(y0, x0, y1, x1)`` around the lesion."""
        self._prompt(lambda prompted: prompted.add_box((box[0], box[1], box[2], box[3])))

    def add_scribble(self, path: Sequence[Place], lesion: bool) -> None:
        """Draw a stroke along some places."""
        height, width = self._session.shape[1:]
        drawn = np.zeros((height, width), np.uint8)
        along = np.round(np.array(path)[:, ::-1]).astype(np.int32)
        cv2.polylines(drawn, [along[:, None]], False, 1, max(1, round(min(height, width) * STROKE)))
        stroke = drawn.astype(np.int8) * (1 if lesion else -1)
        self._prompt(lambda prompted: prompted.add_scribble(stroke))

    # -- the mouse ------------------------------------------------------------------------------------------------

    def _on_mouse(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """A press, the moves after it and the release."""
        frame = frame_on_screen(viewer, self._masks)
        if event.button not in (1, 2) or frame is None:
            return
        pressed = self._place(event)
        height, width = self._session.shape[1:]
        if not (-0.5 <= pressed[0] < height - 0.5 and -0.5 <= pressed[1] < width - 0.5):
            return
        event.handled = True
        lesion = self.lesion != (event.button == 2 or "Alt" in event.modifiers)
        scribble, path = "Shift" in event.modifiers, [pressed]
        yield
        while event.type == "mouse_move":
            event.handled = True
            path.append(self._inside(self._place(event)))
            if self._is_drag(path, event) and self._marks is not None and (scribble or lesion):
                self._marks.show_drag(path, scribble, lesion)
            yield
        if not self.active:
            return
        if not self._is_drag(path, event):
            self.add_point(pressed, lesion)
        elif scribble:
            self.add_scribble(path, lesion)
        elif lesion:
            low, high = np.min(path[:1] + path[-1:], axis=0), np.max(path[:1] + path[-1:], axis=0)
            self.add_box((*low, *high))

    def _place(self, event: Any) -> Place:
        row, column = self._masks.world_to_data(event.position)[-2:]
        return float(row), float(column)

    def _inside(self, place: Place) -> Place:
        height, width = self._session.shape[1:]
        return float(np.clip(place[0], 0, height - 1)), float(np.clip(place[1], 0, width - 1))

    def _is_drag(self, path: Sequence[Place], event: Any) -> bool:
        away = np.abs(np.array(path) - path[0]).max(axis=0) * np.asarray(self._masks.scale[-2:])
        return bool((away * event.camera_zoom > DRAG).any())

    # -- what happens meanwhile -----------------------------------------------------------------------------------

    def _on_moved(self) -> None:
        """Take what is prompted on the way to another frame."""
        frame = frame_on_screen(self._viewer, self._masks)
        if frame != self._frame:
            self.take()
            self._frame = frame
            self._rest.start()

    def _on_mode(self) -> None:
        """Make way for another tool of the masks layer."""
        if self._masks.mode != "pan_zoom":
            self.stop()

    def _on_removed(self, event: Any) -> None:
        """End where the person takes one of the layers away."""
        if self._marks is not None and event.value in self._marks.layers:
            self.stop()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _prompt(self, change: Callable[[PromptedFrame], None]) -> None:
        frame = frame_on_screen(self._viewer, self._masks)
        if frame is not None:
            self._frame = frame
            self._do(frame, change, self._show, begin=True)

    def _do(
        self,
        frame: int,
        change: Callable[[PromptedFrame], object],
        then: Callable[[Prompted | None], None],
        begin: bool = False,
    ) -> None:
        """Change a frame's prompts in the tool's thread, then call `then` with what came of it in the window's."""
        class_id = int(self._masks.selected_label) or 1
        mask, model, device = self._editing.mask(frame), self.model, self.device

        def work() -> Iterator[Prompted | None]:
            under_way = self._under_way
            if begin and (under_way is None or under_way[:2] != (frame, class_id)):
                from vivim.prompting import PromptedFrame

                start = mask == class_id
                encoded = self._frame_encoded(frame, model, device)
                made = PromptedFrame(encoded, class_id, start if start.any() else None)
                under_way = self._under_way = frame, class_id, made
            if under_way is None or under_way[0] != frame:
                yield None
                return
            prompted = under_way[2]
            change(prompted)
            yield Prompted(frame, under_way[1], prompted.prompts, prompted.mask)

        job = Job(work)
        self._jobs.append(job)
        job.event.connect(lambda found: None if self._closed else then(found))
        job.failed.connect(self._on_failed)
        job.ended.connect(lambda finished: self._jobs.remove(job))
        self._worker.submit(job)

    def _forget(self, prompted: PromptedFrame) -> None:
        self._under_way = None

    def _on_failed(self, error: Exception) -> None:
        """Show why a prompt came to nothing. Without a model that takes prompts the tool is of no use."""
        if self._closed:
            return
        show_problem(error)
        self._show(self.prompted)
        if not isinstance(error, ValueError):
            self.stop()

    def _frame_encoded(self, frame: int, model: str, device: str) -> EncodedFrame:
        load_torch()
        from vivim.devices import is_remote
        from vivim.prompting import encode_session_frame
        from vivim.registry.registry import default_model_name
        from vivim.remote.config import preferred_device

        network = self._load(model or default_model_name())
        chosen = device or preferred_device()
        key = network.version or network.name, id(network), self._session.area, frame
        found = self._encoded.get(key)
        if found is None:
            found = encode_session_frame(
                self._session, network, frame, "auto" if is_remote(chosen) else chosen
            )
            self._encoded.put(key, found)
        return found

    def _encode(self) -> None:
        """Encode the frame on screen in advance, so that the first click is as quick as the others."""
        frame = self._frame
        if not self.active or frame is None or self._encoding is not None:
            return
        model, device = self.model, self.device

        def work() -> Iterator[None]:
            if frame == self._frame:
                self._frame_encoded(frame, model, device)
            yield None

        self._encoding = job = Job(work)
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_encoded)
        self._worker.submit(job)

    def _on_encoded(self, finished: bool) -> None:
        self._encoding = None

    def _show(self, found: Prompted | None) -> None:
        """Show what is prompted, unless the person is elsewhere by now."""
        if found is not None and (found.frame != self._frame or not self.active):
            return
        self.prompted = found if found is not None and found.is_said else None
        if self._marks is not None:
            shown = self.prompted
            self._marks.show(*((shown.prompts, shown.mask) if shown is not None else (None, None)))
        self.changed.emit()

    def _correct(self, found: Prompted) -> None:
        """Write a prompted mask as a person's. It wins over other classes."""
        mask = self._editing.mask(found.frame)
        kept = np.where(mask == found.class_id, 0, mask)
        self._editing.replace(
            np.where(found.mask, found.class_id, kept).astype(np.uint8), found.frame, chosen=True
        )
        self.taken.emit(found.frame)
