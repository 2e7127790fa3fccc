"""`Session`: a folder that holds all work on one video.

The folder: ``session.json`` (what video, since when), ``masks.zarr`` (what the masks are), ``ledger.jsonl`` (what
each frame counts as, who wrote it, when), ``closed.json`` (how it was when last closed), ``lock`` (one writer at a
time). All writing goes through `Gate`.
"""

from __future__ import annotations

import getpass
import logging
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from vivim.errors import SessionError, VideoMissingError
from vivim.session.damage_check import CUT_SHORT
from vivim.session.folder import brought_up_to_date, check_place, create_folder, sweep
from vivim.session.folder_lock import HOLDER, FolderLock, check_entries
from vivim.session.frame_snapshots import PROPOSALS
from vivim.session.history import UNDO
from vivim.session.mask_array import MaskEditor
from vivim.session.metadata import FILE, SUFFIX, About, Description, describe
from vivim.session.recovery import recover
from vivim.session.video_link import find_video, home_of, linked, remember_place
from vivim.utils.atomic_files import flush

if TYPE_CHECKING:
    from vivim.video import Video

_log = logging.getLogger(__name__)


class Session(About):
    """All work on one video. Open with `Session.open`; close it, or use it in a ``with`` block.

    Methods may be called from any thread.
    """

    def __init__(
        self, folder: Path, description: Description, video: Video | None, author: str, read_only: bool
    ) -> None:
        super().__init__(folder, description, author, read_only)
        self._video = video
        self._writer: FolderLock | None = None
        self._closed = False
        self._begun = False
        if self._made:
            self._attach()

    def _attach(self) -> None:
        """Become the writer of the folder, unless it is only to be read, and take up what it holds."""
        with ExitStack() as undo:
            if not self.read_only:
                self._writer = FolderLock(self.folder)
                undo.callback(self._writer.release)
                self._writer.acquire()
                if self._writer.after_crash:
                    self._sweep()
                self._description = brought_up_to_date(self.folder)
            else:
                check_entries(self.folder, follow=True)
            unclean = (
                self._writer.after_crash if self._writer is not None else (self.folder / HOLDER).exists()
            )
            self._masks.open(self.read_only)
            self._frames.replay(self._checker.replayed(self._ledger.read))
            self._steps.load()
            self._checker.judge_ledger()
            if not self.read_only:
                self._ledger.open()
                if unclean:
                    self._recover()
            self._checker.opened(unclean)
            undo.pop_all()

    def _sweep(self) -> None:
        try:
            sweep(self.folder)
        except OSError as error:
            raise self._not_written(error) from error

    def _recover(self) -> None:
        try:
            for name in (UNDO, PROPOSALS):
                if (self.folder / name).is_dir():
                    flush(self.folder / name)
            since = self._checker.lines_since_close
            for t in recover(self._store, self._ledger, self._frames, self.author, since):
                self._frames.doubt(t, CUT_SHORT)
        except OSError as error:
            raise self._not_written(error) from error

    def _begin(self) -> None:
        """Make the folder of a session that was opened with `lazy`."""
        if self._made:
            return
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

    # -- opening and closing --------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        folder: str | Path | None = None,
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
        author : str, optional
            Who corrects; the account's name by default.
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
        author = author or _account_name()
        if (path / FILE).is_file():
            session = cls(path, Description.read(path / FILE), None, author, read_only)
            if relink:
                session._open_video(relink)
            return session
        if path.suffix == SUFFIX and path.is_dir():
            raise SessionError(f"{path} has no {FILE}. Restore it from a backup, or open the video instead.")
        from vivim.video import open_video

        video = open_video(path)
        try:
            home = Path(folder) if folder is not None else home_of(video)
            if (home / FILE).is_file():
                linked(Description.read(home / FILE), video, home, relink)
            elif read_only:
                raise SessionError(
                    f"There is no session beside {path.name}. Propose or draw masks first; of a video that `vivim "
                    f"segment` did, name the session instead: OUT/{path.stem}/session{SUFFIX}."
                )
            elif lazy:
                check_place(home)
                return cls(home, describe(video), video, author, read_only)
            else:
                create_folder(home, describe(video))
            session = cls(home, Description.read(home / FILE), None, author, read_only)
            try:
                session._link(video, relink)
            except BaseException:
                session.close()
                raise
            return session
        except BaseException:
            video.close()
            raise

    def close(self) -> None:
        """Write everything out and let go of the folder; safe to call twice."""
        if self._closed:
            return
        self.read_only = True
        try:
            with self._lock:
                self._patience(self._finish, eventually=True)
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
            self._say_unsaid()

    def _let_go(self) -> None:
        """Let go of the folder."""
        with ExitStack() as stack:
            writer, self._writer = self._writer, None
            if writer is not None:
                stack.callback(writer.release)
                writer.clean = False
            stack.callback(self._ledger.close)
            self._flusher.close()
            if writer is not None:
                writer.clean = True
                if self._made:
                    self._note_how_it_is()

    def _note_how_it_is(self) -> None:
        """Once all is on disk: what the next opening is to find."""
        found = self._checker.closing()
        if found != self._checker.before:
            try:
                found.write(self.folder)
            except OSError as error:  # without it the next opening compares more than it had to
                _log.warning("%s/closed.json was not written: %s", self.folder.name, error.strerror or error)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what it is about -----------------------------------------------------------------------------------------

    @property
    def video_path(self) -> Path:
        """Where the video is: beside the session, where it was, or near; where it was, if it is gone."""
        return find_video(self._description, self.folder, self._video)

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
        with self._lock:
            if self._video is None:
                from vivim.video import open_video

                path = self.video_path
                if not path.exists():
                    raise VideoMissingError(
                        f"The video of this session is no longer at {path}. Put it back, or open it where it is now "
                        "with this session's folder."
                    )
                video = open_video(path)
                try:
                    self._link(video, relink)
                except BaseException:
                    video.close()
                    raise
            assert self._video is not None
            return self._video

    def _link(self, video: Video, relink: bool) -> None:
        """Take `video` for this session's, and note where it is now."""
        self._describe(linked(self._description, video, self.folder, relink))
        remember_place(self._description, self.folder, Path(video.path))
        self._video = video

    def editable(self) -> MaskEditor:
        """The masks as an array that a person may paint on; every write goes through `edit`."""
        return MaskEditor(self)


def _account_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"  # an account without a name, as in some containers
