"""`Session`: a folder that holds all work on one video.

The folder: ``session.json`` (what video, since when), ``masks.zarr`` (what the masks are), ``ledger.jsonl`` (what
each frame counts as, who wrote it, when), ``lock`` (one writer at a time). All writing goes through `Gate`.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from vivim.errors import SessionError
from vivim.session.description import FILE, Description, check_same_video, describe
from vivim.session.editor import MaskEditor
from vivim.session.folder import LEDGER, MASKS, SUFFIX, check_place, create_folder, lock_folder
from vivim.session.gate import Gate
from vivim.session.ledger import STATUS_CODES, Entry, Ledger
from vivim.session.store import MaskStore

if TYPE_CHECKING:
    from vivim.video import Video


class Session(Gate):
    """All work on one video. Open with `Session.open`; close it, or use it in a ``with`` block.

    Methods may be called from any thread.
    """

    def __init__(
        self, folder: Path, description: Description, video: Video | None, author: str, read_only: bool
    ) -> None:
        super().__init__(folder, MaskStore(folder / MASKS, description.shape), author, read_only)
        self._description = description
        self._video = video
        self._writer: FileLock | None = None
        self._made = (folder / FILE).is_file()
        if self._made:
            self._attach()

    def _attach(self) -> None:
        """Become the writer of the folder, unless it is only to be read, and take up what it holds."""
        with ExitStack() as undo:
            if not self.read_only:
                self._writer = lock_folder(self.folder)
                undo.callback(self._writer.release)
            self._masks.open(self.read_only)
            self._ledger = Ledger(self.folder / LEDGER, self.read_only)
            undo.callback(self._ledger.close)
            self._frames.replay(self._ledger)
            undo.pop_all()

    def _begin(self) -> None:
        """Make the folder of a session that was opened with `lazy`."""
        if self._made:
            return
        if not create_folder(self.folder, self._description):
            raise SessionError(
                f"{self.folder} has been made by another window or program meanwhile. Close this video, and open it "
                "again once it is closed there."
            )
        self._attach()
        self._made = True

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

        Raises
        ------
        SessionError
            If the folder cannot be written, is in use by another writer, is damaged, or belongs to another video.
        VideoError
            If the video cannot be opened.
        """
        path = Path(path)
        author = author or _account_name()
        if (path / FILE).is_file():
            return cls(path, Description.read(path / FILE), None, author, read_only)
        if path.suffix == SUFFIX and path.is_dir():
            raise SessionError(f"{path} has no {FILE}. Restore it from a backup, or open the video instead.")
        from vivim.video import open_video

        video = open_video(path)
        home = Path(folder) if folder is not None else path.with_name(path.name + SUFFIX)
        try:
            if not (home / FILE).is_file():
                if read_only:
                    raise SessionError(f"There is no session for {path.name} yet.")
                if lazy:
                    check_place(home)
                    return cls(home, describe(video, home), video, author, read_only)
                create_folder(home, describe(video, home))
            description = Description.read(home / FILE)
            check_same_video(description, video, home)
            return cls(home, description, video, author, read_only)
        except BaseException:
            video.close()
            raise

    def close(self) -> None:
        """Write everything out and let go of the folder; safe to call twice."""
        with self._lock:
            if self._made:
                self._ledger.close()
            if self._video is not None:
                self._video.close()
                self._video = None
            if self._writer is not None:
                self._writer.release()
                self._writer = None
            self.read_only = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what it is about -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._description.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width in pixels."""
        return self._description.shape

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
    def video_path(self) -> Path:
        """Where the video is, or was when the session was made."""
        recorded = Path(self._description.video)
        path = (
            recorded if recorded.is_absolute() else Path(os.path.normpath(self.folder.absolute() / recorded))
        )
        beside = self.folder.absolute().parent / recorded.name
        return path if path.exists() or not beside.exists() else beside

    @property
    def video(self) -> Video:
        """The video itself, opened when first needed.

        Raises
        ------
        SessionError
            If it is no longer where it was, or its content is another.
        """
        with self._lock:
            if self._video is None:
                from vivim.video import open_video

                if not self.video_path.exists():
                    raise SessionError(
                        f"The video of this session is no longer at {self.video_path}. Put it back, or open it from "
                        f"its new place with this session's folder."
                    )
                video = open_video(self.video_path)
                try:
                    check_same_video(self._description, video, self.folder)
                except SessionError:
                    video.close()
                    raise
                self._video = video
            return self._video

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def masks(self) -> MaskStore:
        """Masks ``(T, H, W)`` uint8 on disk, indexed like an array: 0 is background, 1 the first class.

        To be read only. A mask that cannot be read raises a `SessionError`.
        """
        return self._masks

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """What every frame counts as: ``(T,)`` codes, see `STATUS_CODES`."""
        with self._lock:
            return self._frames.codes.copy()

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """How unsure the model was of each frame's outline, ``(T,)``; NaN where it proposed nothing."""
        with self._lock:
            return self._frames.uncertainty.copy()

    def status(self, t: int) -> str:
        """``"empty"``, ``"proposed"``, ``"corrected"`` or ``"accepted"``."""
        return self._frames.status(self._checked(t))

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        codes = [STATUS_CODES[status] for status in statuses]
        with self._lock:
            return np.flatnonzero(np.isin(self._frames.codes, codes)).tolist()

    def entries(self) -> Iterator[Entry]:
        """The whole ledger, oldest first."""
        return iter(self._ledger if self._made else ())

    def editable(self) -> MaskEditor:
        """The masks as an array that a person may paint on; every write goes through `edit`."""
        return MaskEditor(self)


def _account_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"  # an account without a name, as in some containers
