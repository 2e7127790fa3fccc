"""`Session`: a folder that holds all work on one video.

The folder: ``session.json`` (what video, since when), ``masks.zarr`` (what the masks are), ``ledger.jsonl`` (what
each frame counts as, who wrote it, when), ``undo`` and ``proposals`` (what can be taken back), ``closed.json`` (how
it was when last closed), ``lock`` (one writer at a time). All writing goes through `EditGate`.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from operator import index
from pathlib import Path
from threading import Event, get_ident
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError, VideoMissingError
from vivim.imaging.roi import Area, check_area
from vivim.session.damage_check import UNREADABLE, Checked, DamageCheck
from vivim.session.edit_gate import EditGate
from vivim.session.folder import brought_up_to_date, check_place, create_folder, sweep
from vivim.session.folder_lock import HOLDER, FolderLock, check_entries, writing_in
from vivim.session.frame_snapshots import REDO, UNDO
from vivim.session.history import History
from vivim.session.ledger import LEDGER, MODEL, PERSON, PERSONS, Entry, FrameTable, Ledger, digest, now
from vivim.session.mask_array import MaskEditor
from vivim.session.mask_store import MASKS, MaskStore
from vivim.session.metadata import (
    FILE,
    SUFFIX,
    Description,
    agreed,
    checked_class_names,
    describe,
    sessions_in,
)
from vivim.session.migrations import DEFAULT
from vivim.session.readers import session_of
from vivim.session.review import IGNORE, NO_LESION, Comment, Review, ReviewEvent, checked_tag
from vivim.session.video_link import find_video, home_of, linked, remember_place

if TYPE_CHECKING:
    from vivim.video import Video

AT_ONCE = 500
"""Frames accepted between two moments at which others may write."""


class Session:
    """All work on one video.

    Open it with `Session.open`, and close it, or use it in a ``with`` block. Methods may be called from any thread.
    Those that write raise a `SessionError` if the disk cannot take it, or another program has the folder.

    Attributes
    ----------
    folder : Path
        Where the session lives.
    masks : MaskStore
        Masks ``(T, H, W)`` uint8 on disk, indexed like an array: 0 is background, 1 the first class. To be read only.
        A mask that cannot be read raises a `SessionError`; see `damaged` and `shown`.
    author : str
        Who corrects.
    shape : tuple of int
        Frames, height and width in pixels.
    """

    def __init__(self, folder: Path, description: Description, author: str, read_only: bool) -> None:
        self.folder, self.author, self.shape = folder, author, description.shape
        self._description = description
        self._video: Video | None = None
        self._folder_lock: FolderLock | None = None
        self._made = (folder / FILE).is_file()
        self._begun = self._closed = False
        self.masks = MaskStore(folder / MASKS, self.shape)
        self._no_lesion = digest(np.zeros(self.shape[1:], np.uint8))
        self._ledger = Ledger(folder / LEDGER)
        self._frames = FrameTable(len(self))
        self._gate = EditGate(
            folder, self.masks, self._ledger, self._frames, author, read_only, self._prepare
        )
        self._flusher = self._gate.flusher
        self._history = History(self._gate)
        self._damage = DamageCheck(self._gate)
        self._review = Review(self._gate, len(self))
        if self._made:
            self._attach()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        folder: str | Path | None = None,
        reader: str | None = None,
        author: str | None = None,
        read_only: bool = False,
        lazy: bool = False,
        relink: bool = False,
    ) -> Session:
        """Open the session of a video, made if there is none yet, or a session folder.

        Parameters
        ----------
        path : str or Path
            A video (anything `vivim.open_video` opens), or a session folder.
        folder : str or Path, optional
            Where a video's session lives; by default beside the video, named after it with ``.vivim`` added.
        reader : str, optional
            Whose session: each reader of a video has masks, ledger, undo and lock of their own, see
            `vivim.session.readers`. By default the session that lies in the folder itself. A new reader starts with
            the class names and the area of those who are there.
        author : str, optional
            Who corrects; by default the reader, for ``"default"`` the account's name.
        read_only : bool
            Open without the right to write; any number of readers may, while one writer has it open.
        lazy : bool
            Make the folder of a new session when something is first written into it, so that looking leaves no trace.
        relink : bool
            Take the video for the session's although its content is another: it was encoded anew, or its pixels were
            cleaned up. It must have as many frames of the same size.

        Raises
        ------
        VideoChangedError
            If the session was made for another video; it says whether `relink` would help.
        SessionError
            If the folder cannot be written, is in use by another writer, or is damaged.
        VideoError
            If the video cannot be opened.
        """
        path = Path(path)
        with ExitStack() as undo:
            video, home = None, path
            if not sessions_in(path):
                if path.suffix == SUFFIX and path.is_dir():
                    raise SessionError(
                        f"{path} has no {FILE}. Restore it from a backup, or open the video instead."
                    )
                from vivim.video import open_video

                video = open_video(path)
                undo.callback(video.close)
                home = Path(folder) if folder is not None else home_of(video)
            home, description = session_of(home, reader, read_only)
            if not (home / FILE).is_file() and (read_only or (video is None and reader is None)):
                raise _no_session(path, home, reader or DEFAULT)
            if video is not None:
                known = description or replace(describe(video), reader=reader or DEFAULT)
                description = linked(known, video, home, relink)
            assert description is not None
            if not (home / FILE).is_file():
                check_place(home) if lazy else create_folder(home, description)
            if there := (home / FILE).is_file():
                description = Description.read(home / FILE)
            session = cls(home, description, author or _author(description), read_only)
            undo.callback(session.close)
            if video is not None and there:
                session._link(video, relink)
            elif video is None and relink:
                session._open_video(relink)
            session._video = session._video or video
            undo.pop_all()
            return session

    def _attach(self) -> None:
        """Become the writer of the folder, unless it is only to be read, and load what it holds."""
        with writing_in(self.folder), ExitStack() as undo:
            unclean = (self.folder / HOLDER).exists()
            if self._gate.read_only:
                check_entries(self.folder, follow=True)
            else:
                self._folder_lock = FolderLock(self.folder)
                undo.enter_context(self._folder_lock)
                unclean = self._folder_lock.after_crash
                if unclean:
                    sweep(self.folder)
                self._description = brought_up_to_date(self.folder)
            self.masks.open(self._gate.read_only)
            self._damage.replay()
            self._history.steps.load()
            if not self._gate.read_only:
                self._ledger.open()
            self._damage.opened(unclean, self._history.steps)
            self._damage.ledger_problems += self._review.load()
            undo.pop_all()

    def _prepare(self) -> None:
        """Make ready for a step that writes."""
        if not self._made:
            self._make_folder()
        self._ledger.check_in_place()
        self._flusher.wait_for_room()

    def _make_folder(self) -> None:
        """Make the folder of a session that was opened with `lazy`."""
        wanted = self._description
        try:
            made = create_folder(self.folder, wanted)
        except SessionError as error:  # of the disk, or because another program has it
            self._begun |= not isinstance(error.__cause__, TimeoutError)
            raise
        found = wanted if made else Description.read(self.folder / FILE)
        self._begun |= made
        if not self._begun or (found.identity, found.created) != (wanted.identity, wanted.created):
            raise SessionError(
                f"{self.folder} has been made by another window or program meanwhile. Close this video, and open it "
                "again once it is closed there."
            )
        self._attach()
        if self._description != wanted:  # changed since the earlier try
            try:
                wanted.write(self.folder / FILE)
            except OSError:
                self._let_go()
                raise
            self._description = wanted
        self._made = True
        if self._video is not None:
            remember_place(self._description, self.folder, Path(self._video.path))

    def flush(self) -> None:
        """Wait until the disk has everything that was written, which it is told to take every 0.2 s anyway."""
        with writing_in(self.folder):
            self._flusher.flush()

    def close(self) -> None:
        """Write everything out and let go of the folder. Safe to call twice."""
        if self._closed:
            return
        self._gate.read_only = True
        try:
            with self._gate.lock:
                self._gate.queue(self._finish, eventually=True)
        except OSError as error:
            self._closed = True
            raise SessionError(
                f"{self.folder} could not be closed properly: {error.strerror or error}. Every mask is written, but "
                "the disk may not have the latest yet: check it before going on."
            ) from error
        self._closed = True

    def _finish(self) -> None:
        with ExitStack() as stack:
            if self._video is not None:
                stack.callback(self._video.close)
                self._video = None
            stack.callback(self._let_go)
            self._gate.say_unsaid()

    def _let_go(self) -> None:
        """Let go of the folder."""
        with ExitStack() as stack:
            lock, self._folder_lock = self._folder_lock, None
            if lock is not None:
                stack.callback(lock.release)
                lock.clean = False
            stack.callback(self._review.close)
            stack.callback(self._ledger.close)
            self._flusher.close()
            if lock is not None:
                lock.clean = True
                if self._made:
                    self._damage.note_close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- the video -----------------------------------------------------------------------------------------------
    @property
    def video_path(self) -> Path:
        """Where the video is: beside the session, where it was, or near. Where it was, if it is gone."""
        if self._video is not None and Path(self._video.path).exists():
            return Path(self._video.path)
        return find_video(self._description, self.folder)

    @property
    def video(self) -> Video:
        """The video itself, opened when first needed.

        Raises
        ------
        VideoMissingError
            If it is no longer where it was, nor anywhere near.
        VideoChangedError
            If its content is another.
        """
        return self._open_video(relink=False)

    def _open_video(self, relink: bool) -> Video:
        with self._gate.lock:
            if self._video is None:
                from vivim.video import open_video

                path = self.video_path
                if not path.exists():
                    raise VideoMissingError(
                        f"The video of this session is no longer at {path}. Put it back, or open it where it is now "
                        "with this session's folder."
                    )
                with ExitStack() as undo:
                    video = open_video(path)
                    undo.callback(video.close)
                    self._link(video, relink)
                    undo.pop_all()
            assert self._video is not None
            return self._video

    def _link(self, video: Video, relink: bool) -> None:
        """Take `video` for this session's, and note where it is now."""
        self._describe(linked(self._description, video, self.folder, relink))
        remember_place(self._description, self.folder, Path(video.path))
        self._video = video

    def _describe(self, description: Description) -> None:
        """Take another description, and write it if there is a folder, without waiting for the disk."""
        if description != self._description and self._made and not self.read_only:
            with writing_in(self.folder):
                self._flusher.replace(self.folder / FILE, description.text())
        self._description = description

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def fps(self) -> float | None:
        """Frames per second, where the video says so."""
        return self._description.fps

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Height and width of a pixel in mm, where the video says so."""
        return self._description.pixel_spacing_mm

    @property
    def identity(self) -> str:
        """What tells this video from others: a digest of its content."""
        return self._description.identity

    @property
    def reader(self) -> str:
        """Whose work this is: the name of a reader, ``"default"`` where there is one alone."""
        return self._description.reader

    @property
    def area(self) -> Area | None:
        """The part of the picture that models are shown and propose in, ``(y0, x0, y1, x1)``. None is all of it."""
        return self._description.area

    def set_area(self, area: Area | None) -> None:
        """Let models work on a part of the picture only, from now on.

        Masks stay those of the whole picture. What was proposed or drawn outside before stays as it is. Raises a
        `ValueError` if it reaches beyond the picture, or is too small, a `SessionError` if the session is locked.
        """
        found = None if area is None else check_area(area, self.shape[1:])
        with self._gate.lock:
            self._gate.refuse_if_locked()
            self._describe(replace(self._description, area=found))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1 and up."""
        return self._description.classes

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the classes 1 and up, for good.

        Raises a `ValueError` if a name is empty, or two are alike, a `SessionError` if the session is locked.
        """
        with self._gate.lock:
            self._gate.refuse_if_locked()
            self._describe(replace(self._description, classes=checked_class_names(names)))

    def take_classes(self, names: tuple[str, ...]) -> None:
        """Take over the class names of a model that is about to propose, see `vivim.session.metadata.agreed`.

        Raises a `SessionError` if a person has drawn masks whose classes have other names.
        """
        drawn = bool(self._frames.frames_with(*PERSONS))
        names = agreed(self.classes, names, drawn)
        if names != self.classes:
            self.name_classes(names)

    # -- the frames ----------------------------------------------------------------------------------------------
    @property
    def read_only(self) -> bool:
        """Whether no mask can be written, as once the session is closed or locked."""
        return self._gate.read_only or self._gate.locked_by is not None

    def editable(self) -> MaskEditor:
        """The masks as an array that a person may paint on. Every write goes through `edit`."""
        return MaskEditor(self)

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """What every frame counts as: ``(T,)`` codes, see `STATUS_CODES`."""
        return self._frames.codes.copy()

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """How uncertain the model was of each frame, in bits, ``(T,)``. NaN where it proposed nothing."""
        return self._frames.uncertainty.copy()

    @property
    def disagreement(self) -> NDArray[np.float32]:
        """What of `uncertainty` comes from windows that disagree, ``(T,)``. NaN where older versions did not say."""
        return self._frames.disagreement.copy()

    def status(self, t: int) -> str:
        """``"empty"``, ``"proposed"``, ``"corrected"`` or ``"accepted"``."""
        return self._frames.status(self._checked(t))

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        return self._frames.frames_with(*statuses)

    def latest(self, kind: str) -> Entry | None:
        """What was done last by a ``"person"`` or a ``"model"``, in this run or an earlier."""
        return self._frames.latest.get(kind)

    def entries(self) -> Iterator[Entry]:
        """The whole ledger, oldest first."""
        return iter(self._ledger)

    def on_change(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call ``listener(frame, status)`` after every write, in the thread that wrote, and return what ends that."""
        return self._gate.on_change(listener)

    def _checked(self, t: int) -> int:
        if not 0 <= index(t) < len(self):
            raise IndexError(f"Frame {t} is not in a video of {len(self)} frames.")
        return index(t)

    # -- damage --------------------------------------------------------------------------------------------------
    def damaged(self, t: int) -> bool:
        """Whether a frame's mask cannot be read, or is not what the ledger says.

        Its `status` is a person's then. Compares the mask with the ledger, unless that was done and the mask has not
        changed since.
        """
        return bool(self._damage.problem(self._checked(t)))

    def problem(self, t: int) -> str:
        """What is known to be wrong with a frame, in words, empty if nothing is. Reads nothing from disk."""
        return self._frames.damaged.get(t, "")

    @property
    def damage(self) -> dict[int, str]:
        """What is wrong with each frame that is known to be damaged, in words. Reads nothing from disk."""
        return dict(sorted(self._frames.damaged.items()))

    @property
    def ledger_damage(self) -> list[str]:
        """What is wrong with the ledger itself, or the file of the review, in sentences without a full stop."""
        return list(self._damage.ledger_problems)

    @property
    def ledger_kept_in(self) -> Path | None:
        """The file beside the ledger in which this opening, or `mend`, has kept what was damaged."""
        return self._ledger.kept_in or self._review.file.kept_in

    @property
    def check_due(self) -> bool:
        """Whether masks and ledger are to be compared: the session was not closed, or something is damaged."""
        return self._damage.due

    def check(self, start: int = 0, stop: Event | None = None) -> Iterator[Checked]:
        """Compare every mask with what the ledger says of it.

        A frame that is found damaged counts as a person's from then on; those who listen are told.

        Parameters
        ----------
        start : int
            The frame to begin at.
        stop : threading.Event, optional
            Set it to end the check after the frame it is at.

        Yields
        ------
        Checked
            One a frame. The check may be closed at any time, and begins anew the next time.
        """
        return self._damage.check(self._checked(start), stop)

    def verify(self) -> list[int]:
        """Frames that are damaged. Reads every mask."""
        return [one.frame for one in self.check() if one.problem]

    def mend(self) -> list[int]:
        """Keep all frames that are known to be damaged as a person's, and the ledger without its damaged lines.

        The ledger as it was is kept beside it. A mask that cannot be read stays so until it is drawn anew.

        Returns
        -------
        list of int
            The frames kept.
        """

        def mend_ledger() -> list[int]:
            for file in (self._ledger, self._review.file):
                if file.damage:
                    file.mend()
            self._damage.ledger_problems = []
            return []

        def keep(some: list[int]) -> list[int]:
            for t in some:
                entry, pixels = self._gate.state(t)
                self._gate.put_status(replace(entry, author=self.author))
                if pixels is None:
                    self._frames.mark_damaged(t, UNREADABLE)
            return some

        found = list(self.damage)
        self._gate.run(mend_ledger)
        return self._in_parts(keep, found)

    def shown(self, t: int) -> NDArray[np.uint8]:
        """The mask ``(H, W)`` of a frame as it is shown: empty where it cannot be read."""
        return self._damage.shown(self._checked(t))

    def vouched_frames(self) -> list[int]:
        """Frames that a person corrected or accepted: what models may learn from.

        Those whose masks are damaged are left out, and those with the tag ``"ignore"``.
        """
        sound = [t for t in self._frames.frames_with(*PERSONS) if self._damage.is_sound(t)]
        return [t for t in sound if t not in self._review.tagged(IGNORE)]

    # -- what is said besides the masks --------------------------------------------------------------------------
    def tags(self, t: int) -> tuple[str, ...]:
        """Tags of a frame, sorted. ``"no lesion"`` is one where a person corrected or accepted an empty mask."""
        t = self._checked(t)
        empty = self._frames.status(t) in PERSONS and self._is_empty(t)
        return tuple(sorted([*self._review.tags(t), *([NO_LESION] if empty else [])]))

    @property
    def tag_names(self) -> list[str]:
        """All tags that a frame has, sorted, but for ``"no lesion"``."""
        return self._review.tag_names

    def frames_tagged(self, name: str) -> list[int]:
        """Frames with a tag, in order."""
        if (name := checked_tag(name)) == NO_LESION:
            return [t for t in self._frames.frames_with(*PERSONS) if self._is_empty(t)]
        return sorted(self._review.tagged(name))

    def tag(self, frames: int | Iterable[int], name: str, author: str | None = None) -> None:
        """Give a frame, or several, a tag, for a person.

        Parameters
        ----------
        frames : int or iterable of int
            Which frames, as ``5`` or ``range(3, 9)``.
        name : str
            The tag: ``"unusable"``, ``"uncertain"``, or one of your own. ``"ignore"`` keeps a frame out of training,
            scores and suggestions. ``"no lesion"`` is not stored: it clears the frame, see `clear`.
        author : str, optional
            Who says so.

        Raises
        ------
        SessionError
            If it cannot be written.
        ValueError
            If no tag can have that name.
        """
        chosen = self._several(frames)
        if checked_tag(name) == NO_LESION:
            with self.one_step():
                for t in chosen:
                    self.clear(t, author)
        else:
            self._review.tag(name, chosen, author or self.author)

    def untag(self, frames: int | Iterable[int], name: str, author: str | None = None) -> None:
        """Take a tag from a frame, or from several. `undo` leaves tags alone.

        Raises a `SessionError` for ``"no lesion"``, which a mask takes away.
        """
        if checked_tag(name) == NO_LESION:
            raise SessionError(
                "A frame has no lesion as long as its mask is empty. Draw one, or revert the frame."
            )
        self._review.tag(name, self._several(frames), author or self.author, on=False)

    def _several(self, frames: int | Iterable[int]) -> list[int]:
        return [self._checked(t) for t in (frames if isinstance(frames, Iterable) else (frames,))]

    def comment(
        self,
        text: str,
        t: int | None = None,
        *,
        place: tuple[float, float] | None = None,
        lesion: int | None = None,
        reply_to: str | None = None,
        author: str | None = None,
    ) -> str:
        """Say something of a frame, a lesion or the whole clip. A locked session takes comments, too.

        Parameters
        ----------
        text : str
            What is said.
        t : int, optional
            The frame that it is about.
        place : tuple of float, optional
            Where in the picture, in pixels, row before column.
        lesion : int, optional
            The lesion that it is about, by its number over time.
        reply_to : str, optional
            The comment that it answers.
        author : str, optional
            Who says it.

        Returns
        -------
        str
            The comment's `Comment.id`.

        Raises
        ------
        SessionError
            If it cannot be written, or there is no such comment to answer.
        ValueError
            If the text is empty or too long.
        """
        frame = None if t is None else self._checked(t)
        at = None if place is None else (float(place[0]), float(place[1]))
        lesion = None if lesion is None else index(lesion)
        return self._review.comment(Comment("", text, author or self.author, "", frame, lesion, at, reply_to))

    def note(self, text: str, author: str | None = None) -> str:
        """Say something of the whole clip, see `comment`."""
        return self.comment(text, author=author)

    def resolve(self, comment: str, author: str | None = None) -> None:
        """Call a comment resolved, by its `Comment.id`."""
        self._review.resolve(comment, author or self.author)

    @property
    def comments(self) -> tuple[Comment, ...]:
        """All comments, oldest first."""
        return tuple(self._review.comments.values())

    def set_attribute(self, lesion: int, name: str, value: str, author: str | None = None) -> None:
        """Say something of a lesion that holds in all its frames, such as its Paris class. ``""`` takes it back."""
        self._review.set_attribute(index(lesion), name, value, author or self.author)

    @property
    def attributes(self) -> dict[int, dict[str, str]]:
        """What is said of lesions, by their number over time."""
        return {lesion: dict(values) for lesion, values in self._review.attributes.items() if values}

    @property
    def state(self) -> str:
        """How far the work is: ``"draft"``, ``"submitted"``, ``"in review"``, ``"approved"`` or ``"locked"``."""
        return self._review.state

    @property
    def states(self) -> tuple[ReviewEvent, ...]:
        """Every change of the state: `name` is the state, `text` the reason, besides `author` and `time`."""
        return tuple(self._review.states)

    def set_state(self, state: str, by: str | None = None, reason: str = "") -> None:
        """Say how far the work is.

        Parameters
        ----------
        state : str
            From ``"draft"`` the work becomes ``"submitted"``, then ``"in review"`` or at once ``"approved"``, then
            ``"locked"``. All of these may return to ``"draft"``. Nothing but comments is written while it is locked.
        by : str, optional
            Who says so.
        reason : str
            Why; needed to return to ``"draft"``.

        Raises
        ------
        SessionError
            If that does not follow on the present state, the reason is missing, or it cannot be written.
        """
        self._review.set_state(state, by or self.author, reason)

    # -- what a person does --------------------------------------------------------------------------------------
    def correct(self, t: int, mask: ArrayLike, author: str | None = None) -> None:
        """Write the mask ``(H, W)`` that a person drew. The frame counts as corrected from now on.

        Raises
        ------
        SessionError
            If it cannot be written. The mask that was there is still there, and so is its status, unless the disk
            takes not even one more line: the frame then stays a person's.
        ValueError
            If the mask has another shape, or labels that do not fit into uint8.
        """
        self._replace(self._checked(t), "corrected", self._gate.checked(mask), author)

    def edit(self, t: int, mask: ArrayLike) -> None:
        """Part of a person's stroke on this frame.

        As `correct`; but a mask that is again, to the pixel, what it was before the step gives the frame its earlier
        status back: a stroke that was broken off is no correction.
        """
        t, pixels = self._checked(t), self._gate.checked(mask)
        with self._gate.lock:
            self._gate.queue.finish_interrupted()
            before = self._history.before(t)
            if before is None or self._frames.status(t) != "corrected" or digest(pixels) != before.mask:
                self._replace(t, "corrected", pixels, None)
                return

            def work() -> list[int]:
                self._gate.put(replace(before, time=now()), pixels)
                return [t]

            self._gate.run(work)

    def accept(self, t: int, author: str | None = None) -> None:
        """Accept a frame's mask as it is shown, for a person. Models leave it alone from now on.

        A mask that cannot be read is shown empty, and accepted as that. Raises a `SessionError` also if there is
        nothing to accept yet.
        """
        t = self._checked(t)
        if self.status(t) == "empty" and not self.damaged(t):
            raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
        shown = self.shown(t)
        if self.problem(t) != UNREADABLE:
            self._accept([t], author)
        else:
            with self.one_step():
                self._replace(t, "accepted", shown, author)

    def accept_frames(self, frames: Iterable[int], author: str | None = None) -> list[int]:
        """Accept the masks of several frames as they are, for a person, in one step.

        Returns
        -------
        list of int
            The frames that count as accepted now and did not before; those without a mask, and those known to be
            damaged, are passed over.

        Raises
        ------
        SessionError
            If it cannot be written; some of the frames may be accepted then, and one `undo` takes that back.
        """
        return self._accept([t for t in map(self._checked, frames) if not self.problem(t)], author)

    def _accept(self, frames: list[int], author: str | None) -> list[int]:
        me = get_ident()

        def work(some: list[int]) -> list[int]:
            some = [t for t in some if self._frames.status(t) in ("proposed", "corrected") or self.problem(t)]
            for t in some:
                self._history.keep(t, me, with_mask=False)
                accepted = self._by_person(t, "accepted", author)
                self._gate.put_status(replace(accepted, mask=self._gate.entry(t).mask))
            return some

        with self.one_step():
            return self._in_parts(work, frames)

    def clear(self, t: int, author: str | None = None) -> None:
        """Say for a person that nothing is here: the frame's mask is empty, and the frame counts as corrected.

        Models leave it alone and learn from it. `revert` gives a model's proposal back, `reset` gives the frame up.
        """
        t, me = self._checked(t), get_ident()

        def work() -> list[int]:
            if self._frames.status(t) == "corrected" and self._is_empty(t):
                return []  # said before
            self._history.keep(t, me)
            self._gate.put(self._by_person(t, "corrected", author), np.zeros(self.shape[1:], np.uint8))
            return [t]

        with self.one_step():
            self._gate.run(work)

    def reset(self, t: int, author: str | None = None) -> None:
        """Make a frame what it was at first: without a mask, and for models to propose in."""
        t = self._checked(t)
        if self.status(t) != "empty" or self.damaged(t):
            with self.one_step():
                self._replace(t, "empty", np.zeros(self.shape[1:], np.uint8), author)

    def revert(self, t: int) -> bool:
        """Give a frame the mask back that a model had proposed, for a person. Models may propose again.

        A damaged frame for which no proposal is kept becomes empty.

        Returns
        -------
        bool
            False if no model had proposed anything there before the person came, or it is that already.
        """
        t, me = self._checked(t), get_ident()

        def work() -> list[int]:
            entry, shown = self._gate.state(t)
            kept, pixels = self._history.proposal(entry, shown) or (None, None)
            if pixels is None and self.problem(t):
                kept, pixels = self._by_person(t, "empty", None), np.zeros(self.shape[1:], np.uint8)
            if kept is None or pixels is None or (kept.status, kept.mask) == (entry.status, entry.mask):
                return []
            self._history.keep(t, me)
            self._gate.put(replace(kept, time=now()), pixels)
            return [t]

        with self.one_step():
            return bool(self._gate.run(work))

    def _replace(self, t: int, status: str, pixels: NDArray[np.uint8], author: str | None) -> None:
        """Give a frame another mask, for a person, and keep the one before."""
        me = get_ident()

        def work() -> list[int]:
            self._history.keep(t, me)
            self._gate.put(self._by_person(t, status, author), pixels)
            return [t]

        self._gate.run(work)

    def _is_empty(self, t: int) -> bool:
        """Whether nothing is drawn in a frame that is not known to be damaged."""
        return not self.problem(t) and self._gate.entry(t).mask == self._no_lesion

    def _in_parts(self, work: Callable[[list[int]], list[int]], frames: list[int]) -> list[int]:
        """Do `work` to many frames, let others write in between, and return what it changed."""
        changed: list[int] = []
        for start in range(0, len(frames), AT_ONCE):
            changed += self._gate.run(partial(work, frames[start : start + AT_ONCE]))
        return changed

    def _by_person(self, t: int, status: str, author: str | None) -> Entry:
        return Entry(t, status, author or self.author, PERSON, now())

    # -- steps to take back --------------------------------------------------------------------------------------
    def one_step(self, frames: Iterable[int] | None = None) -> AbstractContextManager[None]:
        """All that the calling thread does to frames in a ``with`` block of this is one step for `undo`.

        Parameters
        ----------
        frames : iterable of int, optional
            For the parts of a stroke: a step on these frames that goes on after the block, until `end_step`, and
            with the next block on some of the same frames. Without, the step ends with the block.
        """
        return self._history.one_step(frames)

    def end_step(self) -> None:
        """What the calling thread does next is another step for `undo`, even if it is to the same frame."""
        self._history.end_step()

    def undo(self) -> list[int]:
        """Take back what a person did last, in this run or an earlier, whichever frames it was done to.

        What is done to one frame until `end_step`, or until another frame is touched, is one step; accepting,
        clearing, resetting and reverting are steps of their own. The latest `STEPS_KEPT` steps are kept on disk.

        Returns
        -------
        list of int
            Frames whose mask or status is again what it was; empty if nothing is left to take back.
        """
        return self._history.restore(UNDO, REDO)

    def redo(self) -> list[int]:
        """Take back the last `undo`, if nothing else was done since. Returns what that does."""
        return self._history.restore(REDO, UNDO)

    def undo_frames(self) -> list[int]:
        """The frames that the next `undo` would change."""
        return self._history.next_frames(UNDO)

    def redo_frames(self) -> list[int]:
        """The frames that the next `redo` would change."""
        return self._history.next_frames(REDO)

    # -- what a model does ---------------------------------------------------------------------------------------
    def propose(
        self,
        t: int,
        mask: ArrayLike,
        model_version: str,
        uncertainty: float | None = None,
        windows: float | None = None,
    ) -> bool:
        """Write the mask ``(H, W)`` that a model proposes. Within `one_step` it can be taken back.

        Parameters
        ----------
        t : int
            The frame.
        mask : array-like
            ``(H, W)``, labels from 0 to 255.
        model_version : str
            Who proposes.
        uncertainty, windows : float, optional
            How uncertain the model is, in bits, and what of that comes from windows that disagree; see
            `vivim.inference.uncertainty`.

        Returns
        -------
        bool
            False if a person has corrected or accepted the frame, or it is damaged: it is left exactly as it is.

        Raises
        ------
        SessionError, ValueError
            As for `correct`.
        """
        t, pixels, me = self._checked(t), self._gate.checked(mask), get_ident()
        damaged: list[int] = []

        def work() -> list[int]:
            if self._frames.status(t) in PERSONS:
                return []
            if self._damage.before_a_model_writes(t):
                damaged.append(t)
                return []
            if self._history.is_one_step(me):
                self._history.keep(t, me)
            else:
                self._history.leave_steps(t)
            self._gate.put(
                Entry(t, "proposed", model_version, MODEL, now(), uncertainty, windows=windows), pixels
            )
            self._damage.wrote(t)
            return [t]

        written = bool(self._gate.run(work))
        self._gate.tell(damaged)
        return written


def _no_session(path: Path, home: Path, reader: str) -> SessionError:
    """What to say where a session that is not there is to be read."""
    if others := sessions_in(home if reader == DEFAULT else home.parents[1]):
        return SessionError(
            f"{path.name} has no session of reader {reader}. Choose one of: {', '.join(others)}."
        )
    return SessionError(
        f"There is no session beside {path.name}. Propose or draw masks first; of a video that `vivim segment` did, "
        f"name the session instead: OUT/{path.stem}/session{SUFFIX}."
    )


def _author(description: Description) -> str:
    """Who corrects, where nobody says: the reader, or who the account belongs to."""
    if description.reader != DEFAULT:
        return description.reader
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"  # an account without a name, as in some containers
