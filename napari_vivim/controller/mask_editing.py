"""What a person does to the masks of a video by key or button, each one step for Ctrl-Z like a stroke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from vivim.analysis.active_learning import Suggestion
from vivim.imaging import morphology
from vivim.imaging.signed_distance import between
from vivim.session import MaskEditor, Session
from vivim.session.damage_check import UNREADABLE

from napari_vivim.background.worker import Job, Worker
from napari_vivim.controller.frame_navigation import Walk
from napari_vivim.qt.notifications import show_problem

if TYPE_CHECKING:
    from napari_vivim.controller.video_controller import VideoController

Mask = NDArray[np.uint8]
AT_ONCE = 8
"""A step on more frames than that is done in the background."""


class Editing:
    """The masks of one open session in the hands of a person.

    Parameters
    ----------
    controller : VideoController
        Of the video; says which frame is on screen.
    session, editor, masks
        Open session, its array to paint on, the layer that shows it.
    """

    def __init__(
        self, controller: VideoController, session: Session, editor: MaskEditor, masks: Labels
    ) -> None:
        self._controller, self._session, self._editor, self._masks = controller, session, editor, masks
        self._walk = Walk()
        self._worker: Worker | None = None
        self._jobs: list[Job] = []
        self._closed = False

    @property
    def frame(self) -> int:
        """Number of the frame on screen."""
        return self._controller.current_frame

    @property
    def busy(self) -> bool:
        """Whether a step is still being done in the background."""
        return bool(self._jobs)

    def mask(self, frame: int | None = None) -> Mask:
        """The mask ``(H, W)`` of a frame, the one on screen by default."""
        return self._editor[self.frame if frame is None else frame]

    def replace(self, mask: Mask, frame: int | None = None) -> None:
        """A person's new mask for a frame, the one on screen by default."""
        frame = self.frame if frame is None else frame
        if not np.array_equal(mask, self.mask(frame)) or self._session.problem(frame):
            with self._session.one_step():
                self._editor[frame] = mask
            self._masks.refresh()

    # -- whole masks ----------------------------------------------------------------------------------------------

    def change(self, change: Callable[[Mask], Mask]) -> None:
        """Apply a function of masks to the frame on screen."""
        self.replace(change(self.mask()))

    def copy_from(self, step: int) -> None:
        """Take the mask of the frame `step` frames away."""
        source = self.frame + step
        if not 0 <= source < len(self._session):
            show_info("There is no frame to copy from on that side.")
            return
        mask = self.mask(source)
        if self._session.problem(source) == UNREADABLE:
            show_info(f"The mask of frame {source} cannot be read, so there is nothing to copy.")
            return
        self.replace(mask)

    def relabel(self) -> None:
        """The piece under the pointer becomes the class that the brush paints."""
        point = self._masks.world_to_data(self._controller.viewer.cursor.position)
        row, column = (round(float(value)) for value in point[-2:])
        height, width = self._session.shape[1:]
        mask = self.mask()
        if not (0 <= row < height and 0 <= column < width) or not mask[row, column]:
            show_info("Point at a lesion first.")
            return
        self.replace(morphology.relabel(mask, row, column, int(self._masks.selected_label)))

    def in_between(self) -> None:
        """Mix the nearest corrected masks before and after, along the motion of the picture; in the background."""
        known, t = self._session.frames_with("corrected", "accepted"), self.frame
        known = [k for k in known if not self._session.problem(k)]
        before = max((k for k in known if k < t), default=None)
        after = min((k for k in known if k > t), default=None)
        if before is None or after is None:
            show_info("Correct or accept a frame before this one and one after it first.")
            return
        ends = (before, self.mask(before)), (after, self.mask(after))
        found, stop = self.mask(t), threading.Event()

        def work() -> Mask:
            from vivim.propagation.interpolation import along_motion

            propagated = along_motion(self._session.video.frame, *ends, t, stop)
            if propagated is not None:
                return propagated
            return between(ends[0][1], ends[1][1], (t - before) / (after - before))

        def show(mask: Mask) -> None:
            if np.array_equal(self.mask(t), found):
                self.replace(mask, t)
            else:
                show_info(f"Frame {t} was changed meanwhile and is left as it is.")

        self._later(work, show, stop)

    # -- whose the masks are --------------------------------------------------------------------------------------

    def accept(self) -> None:
        """The person vouches for the mask on screen."""
        self._session.accept(self.frame)

    def accept_up_to_here(self) -> None:
        """The person vouches for all proposals from the last frame that was dealt with up to the one on screen."""
        done = self._session.frames_with("corrected", "accepted")
        since = max((t for t in done if t < self.frame), default=-1)
        frames = [t for t in self._session.frames_with("proposed") if since < t <= self.frame]
        if not frames:
            show_info("Nothing is proposed between the last frame you dealt with and this one.")
            return
        self._many(frames, lambda: self._session.accept_frames(frames), _said_accepted)

    def revert(self) -> None:
        """Give the frame on screen the model's proposal back."""
        if self._session.revert(self.frame):
            self._masks.refresh()
        else:
            show_info("This frame shows the model's proposal, or none was made before you drew.")

    def keep_damaged(self, then: Callable[[], None]) -> None:
        """The person takes all damaged frames as they are, and a damaged ledger without its damaged lines."""
        self._later(self._session.mend, lambda frames: then())

    # -- taking back ----------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back what was done last, on whichever frame, and show it."""
        frames = self._session.undo_frames()
        if not frames:
            show_info("Nothing is left to take back.")
        self._many(frames, self._session.undo, self._show_restored)

    def redo(self) -> None:
        """Take back the last `undo`."""
        self._many(self._session.redo_frames(), self._session.redo, self._show_restored)

    def _show_restored(self, frames: list[int]) -> None:
        if frames and self.frame not in frames:
            self._controller.go_to(frames[0])
        self._masks.refresh()

    # -- where to go ----------------------------------------------------------------------------------------------

    def next(self) -> None:
        """Go to the frame most worth correcting next, and say why."""
        suggestion = self._walk.on(self._session)
        if suggestion is None:
            show_info("Every frame is corrected or accepted: you are done.")
            return
        self._lead_to(suggestion)

    def previous(self) -> None:
        """Go back to the frame that was suggested before."""
        suggestion = self._walk.back()
        if suggestion is None:
            show_info("No frame was suggested before this one.")
            return
        self._lead_to(suggestion)

    def _lead_to(self, suggestion: Suggestion) -> None:
        self._controller.go_to(suggestion.frame)
        self._controller.suggested.emit(suggestion)

    # -- inside ---------------------------------------------------------------------------------------------------

    def close(self) -> list[Job]:
        """Let what is under way be finished in the background; what is still to be done before the session closes."""
        self._closed = True
        for job in self._jobs:
            job.cancel()  # a step is done whole; only what was not promised yet, a mixed mask, is given up
        if self._worker is not None:
            self._worker.close(finish=True)
        return list(self._jobs)

    def _many(
        self, frames: Sequence[int], work: Callable[[], list[int]], then: Callable[[list[int]], None]
    ) -> None:
        """Do `work` on some frames: at once if they are few, else in the background; nothing on none."""
        if len(frames) > AT_ONCE:
            self._later(work, then)
        elif frames:
            then(work())

    def _later(
        self, work: Callable[[], Any], then: Callable[[Any], None], stop: threading.Event | None = None
    ) -> None:
        def items() -> Iterator[Any]:
            yield work()

        if self._worker is None:
            self._worker = Worker("vivim-hand")
        job = Job(items, stop)
        self._jobs.append(job)
        job.event.connect(lambda result: None if self._closed else then(result))
        job.failed.connect(show_problem)
        job.ended.connect(lambda finished: self._jobs.remove(job))
        self._worker.submit(job)


def _said_accepted(frames: list[int]) -> None:
    show_info(f"{len(frames)} frames accepted. Ctrl-Z takes it back.")
