"""Edits of a video's masks by key or button, each one step for Ctrl-Z like a stroke, and the way to the next frame."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_info
from numpy.typing import NDArray
from vivim.analysis.active_learning import Suggestion, suggest_frames, uncertain_ends
from vivim.errors import VivimError
from vivim.imaging import morphology
from vivim.imaging.signed_distance import between
from vivim.session import MaskEditor, Session
from vivim.session.damage_check import UNREADABLE
from vivim.session.ledger import PERSONS

from napari_vivim.background.worker import Job, Worker
from napari_vivim.layers.time_axis import frame_on_screen, show_frame
from napari_vivim.qt.notifications import show_problem

Mask = NDArray[np.uint8]
AT_ONCE = 8
"""A step on more frames than that is done in the background."""


def worth_correcting(session: Session, n: int, skip: Sequence[int] = ()) -> list[Suggestion]:
    """Frames to correct, the most useful first. After the very first one come ends that the model is unsure of."""
    begun = bool(skip) or bool(session.frames_with("corrected", "accepted"))
    first = [] if begun else suggest_frames(session, 1)
    chosen = first + uncertain_ends(session, [*skip, *(one.frame for one in first)])
    return (chosen + suggest_frames(session, n, [*skip, *(one.frame for one in chosen)]))[:n]


class FrameNavigation:
    """Goes from one frame worth correcting to the next, and passes over those left as they were."""

    def __init__(self) -> None:
        self._trail: list[Suggestion] = []
        self._at = -1

    def on(self, session: Session) -> Suggestion | None:
        """The next frame, or None once a person has dealt with all of them.

        Where `back` was used, first the frames that were shown before, as far as they are still to be dealt with. A
        person who has seen all that is left without dealing with it begins anew.
        """
        for place in range(self._at + 1, len(self._trail)):
            if session.status(self._trail[place].frame) not in PERSONS:
                self._at = place
                return self._trail[place]
        seen = [one.frame for one in self._trail]
        found = worth_correcting(session, 1, skip=seen) or worth_correcting(session, 1)
        if not found:
            return None
        self._trail.append(found[0])
        self._at = len(self._trail) - 1
        return found[0]

    def back(self) -> Suggestion | None:
        """The frame shown before, or None at the first."""
        if self._at <= 0:
            return None
        self._at -= 1
        return self._trail[self._at]


def frames_around(frame: int, total: int, done: Iterable[int], before: int, after: int) -> list[int]:
    """At most `before` and `after` frames next to one, no farther than the nearest in `done` on each side."""
    others = [t for t in done if t != frame]
    first = max((t + 1 for t in others if t < frame), default=0)
    last = min((t - 1 for t in others if t > frame), default=total - 1)
    return [*range(max(first, frame - before), frame), *range(frame + 1, min(last, frame + after) + 1)]


class MaskEditing:
    """Edits of the masks of one open session by a person.

    `editor` is the session's array to paint on, and `masks` the layer that shows it. `on_suggested` is called with each
    `Suggestion` that the person is led to.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        session: Session,
        editor: MaskEditor,
        masks: Labels,
        on_suggested: Callable[[Suggestion], object],
    ) -> None:
        self._viewer, self._session, self._editor, self._masks = viewer, session, editor, masks
        self._on_suggested = on_suggested
        self._walk = FrameNavigation()
        self._worker: Worker | None = None
        self._jobs: list[Job] = []
        self._closed = False

    @property
    def frame(self) -> int:
        """Number of the frame on screen. A `VivimError` where there is none."""
        frame = frame_on_screen(self._viewer, self._masks)
        if frame is None:
            raise VivimError(
                "No frame of the video is on screen, so nothing is changed. Move the slider to one of its frames, "
                "in the 2D view."
            )
        return frame

    @property
    def busy(self) -> bool:
        """Whether a step is still being done in the background."""
        return bool(self._jobs)

    def mask(self, frame: int | None = None) -> Mask:
        """The mask ``(H, W)`` of a frame, the one on screen by default."""
        return self._editor[self.frame if frame is None else frame]

    def replace(self, mask: Mask, frame: int | None = None, chosen: bool = False) -> None:
        """Replace the mask of a frame, the one on screen by default.

        A person chose a mask as it is by copying it or taking a prompt's: the frame counts as corrected even if
        that is the mask it had. Another change that changes nothing is none.
        """
        frame = self.frame if frame is None else frame
        if not np.array_equal(mask, self.mask(frame)) or self._session.problem(frame):
            with self._session.one_step():
                self._editor[frame] = mask
            self._masks.refresh()
        elif chosen and self._session.status(frame) not in PERSONS:
            with self._session.one_step():
                self._session.correct(frame, mask)

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
        self.replace(mask, chosen=self._session.status(source) != "empty")

    def relabel(self) -> None:
        """Give the connected component under the pointer the class that the brush paints."""
        point = self._masks.world_to_data(self._viewer.cursor.position)
        row, column = (round(float(value)) for value in point[-2:])
        height, width = self._session.shape[1:]
        mask = self.mask()
        if not (0 <= row < height and 0 <= column < width) or not mask[row, column]:
            show_info("Point at a lesion first.")
            return
        self.replace(morphology.relabel(mask, row, column, int(self._masks.selected_label)))

    def interpolate(self) -> None:
        """Interpolate between the nearest corrected masks along the motion, in the background."""
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
                self.replace(mask, t, chosen=True)
            else:
                show_info(f"Frame {t} was changed meanwhile and is left as it is.")

        self._later(work, show, stop)

    # -- accepting, reverting --------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Accept the mask on screen. One that a person has drawn counts for more already, and stays so."""
        if self._session.status(self.frame) == "corrected" and not self._session.problem(self.frame):
            show_info(f"Frame {self.frame} is corrected: it is yours already, and no model changes it.")
        else:
            self._session.accept(self.frame)

    def accept_up_to_here(self) -> None:
        """Accept all proposals after the last corrected or accepted frame, up to the one on screen."""
        since = self._since()
        frames = [t for t in self._session.frames_with("proposed") if since <= t <= self.frame]
        if not frames:
            show_info("Nothing is proposed between the last frame you dealt with and this one.")
            return
        self._many(
            frames,
            lambda: self._session.accept_frames(frames),
            lambda done: show_info(f"{len(done)} frames accepted. Ctrl-Z takes it back."),
        )

    def nothing_here(self) -> None:
        """Say that the frame on screen shows no lesion."""
        self._session.clear(self.frame)
        self._masks.refresh()

    def nothing_up_to_here(self) -> None:
        """Say so of all frames after the last corrected or accepted one, up to the one on screen."""
        frames = list(range(self._since(), self.frame + 1))

        def work() -> list[int]:
            with self._session.one_step():
                for t in frames:
                    self._session.clear(t)
            return frames

        def show(done: list[int]) -> None:
            self._masks.refresh()
            show_info(f"No lesion in frames {done[0]} to {done[-1]}. Ctrl-Z takes it back.")

        self._many(frames, work, show)

    def _since(self) -> int:
        """The frame after the last corrected or accepted one before the frame on screen."""
        done = self._session.frames_with("corrected", "accepted")
        return max((t for t in done if t < self.frame), default=-1) + 1

    def revert(self) -> None:
        """Restore the model's proposal in the frame on screen."""
        if self._session.revert(self.frame):
            self._masks.refresh()
        else:
            show_info("This frame shows the model's proposal, or none was made before you drew.")

    def keep_damaged(self, then: Callable[[], None]) -> None:
        """Accept all damaged frames as they are, and the ledger without its damaged lines."""
        self._later(self._session.mend, lambda frames: then())

    # -- taking back ----------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Undo the last edit, on whichever frame, and show it."""
        frames = self._session.undo_frames()
        if not frames:
            show_info("Nothing to undo.")
        self._many(frames, self._session.undo, self._show_restored)

    def redo(self) -> None:
        """Redo the last edit that was undone."""
        self._many(self._session.redo_frames(), self._session.redo, self._show_restored)

    def _show_restored(self, frames: list[int]) -> None:
        if frames and frame_on_screen(self._viewer, self._masks) not in frames:
            show_frame(self._viewer, self._masks, frames[0])
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

    def go_to_done(self, direction: int) -> None:
        """Go to the nearest corrected or accepted frame before the one on screen, or after it where it is 1."""
        done = self._session.frames_with("corrected", "accepted")
        on_that_side = [t for t in done if (t - self.frame) * direction > 0]
        if on_that_side:
            show_frame(self._viewer, self._masks, min(on_that_side, key=lambda t: abs(t - self.frame)))
        else:
            show_info("No corrected or accepted frame on that side.")

    def _lead_to(self, suggestion: Suggestion) -> None:
        show_frame(self._viewer, self._masks, suggestion.frame)
        self._on_suggested(suggestion)

    # -- inside ---------------------------------------------------------------------------------------------------

    def close(self) -> list[Job]:
        """Finish in the background. Returns the jobs to wait for before the session closes."""
        self._closed = True
        for job in self._jobs:
            job.cancel()  # a step is done whole; only what was not promised yet, a mixed mask, is given up
        if self._worker is not None:
            self._worker.close(finish=True)
        return list(self._jobs)

    def _many(
        self, frames: Sequence[int], work: Callable[[], list[int]], then: Callable[[list[int]], None]
    ) -> None:
        """Do `work` on some frames, in the background if they are many."""
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
