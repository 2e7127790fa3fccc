"""`Session`: a folder that holds all work on one video, and the one gate through which masks are written.

The folder: ``session.json`` (what video, since when), ``masks.zarr`` (what the masks are), ``ledger.jsonl`` (what
each frame counts as, who wrote it, when), ``lock`` (one writer at a time).

The gate keeps two promises. A model never writes over a frame a person corrected or accepted. And a crash at any
moment leaves nothing a person drew looking like a model's: for a person the ledger is written first, then the mask;
for a model the mask first, then the ledger.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import ArrayLike, NDArray

from vivim.errors import SessionError
from vivim.session.editor import MaskEditor
from vivim.session.ledger import MODEL, PERSON, STATUS_CODES, STATUS_NAMES, Entry, Ledger, now
from vivim.session.store import create_masks, open_masks

if TYPE_CHECKING:
    from vivim.video import Video

SCHEMA = 1
SUFFIX = ".vivim"
RESTATE_SECONDS = 5.0
"""While a frame is being painted its ledger line is repeated at most this often."""

PERSONS = (STATUS_CODES["corrected"], STATUS_CODES["accepted"])


@dataclass(frozen=True)
class Description:
    """The contents of ``session.json``. No patient data: file name, content identity, geometry."""

    schema: int
    video: str
    identity: str
    shape: tuple[int, int, int]
    fps: float | None
    pixel_spacing_mm: tuple[float, float] | None
    classes: tuple[str, ...]
    created: str

    def write(self, path: Path) -> None:
        """Write atomically."""
        part = path.with_name(f".{path.name}.part")
        with part.open("w") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    @classmethod
    def read(cls, path: Path) -> Description:
        """Read and check.

        Raises
        ------
        SessionError
            If it is damaged or written by a newer version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            if values["schema"] > SCHEMA:
                raise SessionError(
                    f"{path.parent} was written by a newer version of this program. Update napari-vivim to open it."
                )
            spacing = values["pixel_spacing_mm"]
            return cls(
                values["schema"],
                values["video"],
                values["identity"],
                (values["shape"][0], values["shape"][1], values["shape"][2]),
                values["fps"],
                (spacing[0], spacing[1]) if spacing else None,
                tuple(values["classes"]),
                values["created"],
            )
        except OSError as error:
            raise SessionError(
                f"Cannot read {path}: {error.strerror or error}. Check that you may read this folder."
            ) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise SessionError(f"{path} is damaged ({error}). Restore it from a backup.") from error


class Session:
    """All work on one video. Open with `Session.open`; close it, or use it in a ``with`` block.

    Methods may be called from any thread.
    """

    def __init__(
        self, folder: Path, description: Description, video: Video | None, author: str, read_only: bool
    ) -> None:
        self.folder = folder
        self.author = author
        self.read_only = read_only
        self._description = description
        self._video = video
        self._lock = threading.RLock()
        self._listeners: list[Callable[[int, str], None]] = []
        self._codes = np.zeros(len(self), np.uint8)
        self._uncertainty = np.full(len(self), np.nan, np.float32)
        self._last: dict[int, tuple[Entry, float]] = {}
        self._untouched: dict[int, tuple[bytes, Entry]] = {}
        self._proposers: dict[int, str] = {}
        self._undone: set[int] = set()
        self._stale = False
        with ExitStack() as undo:
            self._writer = None if read_only else _lock_folder(folder)
            if self._writer is not None:
                undo.callback(self._writer.release)
            self._masks = open_masks(folder / "masks.zarr", description.shape, read_only)
            self._ledger = Ledger(folder / "ledger.jsonl", read_only)
            undo.callback(self._ledger.close)
            self._replay()
            undo.pop_all()

    # -- opening and closing --------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        folder: str | Path | None = None,
        author: str | None = None,
        read_only: bool = False,
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

        Raises
        ------
        SessionError
            If the folder cannot be written, is in use by another writer, is damaged, or belongs to another video.
        VideoError
            If the video cannot be opened.
        """
        path = Path(path)
        author = author or _account_name()
        if (path / "session.json").is_file():
            return cls(path, Description.read(path / "session.json"), None, author, read_only)
        if path.suffix == SUFFIX and path.is_dir():
            raise SessionError(
                f"{path} has no session.json. Restore it from a backup, or open the video instead."
            )
        from vivim.video import open_video

        video = open_video(path)
        home = Path(folder) if folder is not None else path.with_name(path.name + SUFFIX)
        try:
            if not (home / "session.json").is_file():
                if read_only:
                    raise SessionError(f"There is no session for {path.name} yet.")
                _create(home, video)
            description = Description.read(home / "session.json")
            _check_same_video(description, video, home)
            return cls(home, description, video, author, read_only)
        except BaseException:
            video.close()
            raise

    def close(self) -> None:
        """Write everything out and let go of the folder; safe to call twice."""
        with self._lock:
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
                    _check_same_video(self._description, video, self.folder)
                except SessionError:
                    video.close()
                    raise
                self._video = video
            return self._video

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def masks(self) -> Any:
        """Masks ``(T, H, W)`` uint8 on disk: 0 is background, 1 the first class. To be read only."""
        return self._masks

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """What every frame counts as: ``(T,)`` codes, see `STATUS_CODES`."""
        with self._lock:
            return self._codes.copy()

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """How unsure the model was of each frame's outline, ``(T,)``; NaN where it proposed nothing."""
        with self._lock:
            return self._uncertainty.copy()

    def status(self, t: int) -> str:
        """``"empty"``, ``"proposed"``, ``"corrected"`` or ``"accepted"``."""
        return STATUS_NAMES[self._codes[self._checked(t)]]

    def frames_with(self, *statuses: str) -> list[int]:
        """Frames that count as any of `statuses`, in order."""
        codes = [STATUS_CODES[status] for status in statuses]
        with self._lock:
            return np.flatnonzero(np.isin(self._codes, codes)).tolist()

    def entries(self) -> Iterator[Entry]:
        """The whole ledger, oldest first."""
        return iter(self._ledger)

    # -- the gate -------------------------------------------------------------------------------------------------

    def correct(self, t: int, mask: ArrayLike, author: str | None = None) -> None:
        """A person drew this frame's mask ``(H, W)``; it counts as corrected from now on.

        Raises
        ------
        SessionError
            If it cannot be written. The mask that was there is still there, and so is its status, unless the disk
            takes not even one more line: the frame then stays a person's.
        ValueError
            If the mask has another shape, or labels that do not fit into uint8.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)
        with self._lock:
            self._writable()
            self._remember_untouched(t)
            before = self._last.get(t)
            try:
                self._record(Entry(t, "corrected", author or self.author, PERSON, now()))
                try:
                    self._masks[t] = pixels
                except OSError:
                    self._take_back(t, before)
                    raise
            except OSError as error:
                raise self._not_written(error) from error
        self._tell(t)

    def edit(self, t: int, mask: ArrayLike) -> None:
        """A person's stroke on this frame, or its undoing.

        As `correct`; but a mask that is again, to the pixel, what it was before the person first touched it gives the
        frame its earlier status back: a stroke that was undone is no correction. This is remembered until the session
        is closed.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)
        with self._lock:
            digest, entry = self._untouched.get(t, (b"", None))
            if entry is None or self.status(t) != "corrected" or _digest(pixels) != digest:
                self.correct(t, pixels)
                return
            self._writable()
            try:
                self._masks[t] = pixels
                self._record(entry)
                self._undone.add(t)
            except OSError as error:
                raise self._not_written(error) from error
        self._tell(t)

    def propose(self, t: int, mask: ArrayLike, model_version: str, uncertainty: float | None = None) -> bool:
        """A model proposes this frame's mask ``(H, W)``.

        Returns
        -------
        bool
            False if a person has corrected or accepted the frame: it is then left exactly as it is.

        Raises
        ------
        SessionError, ValueError
            As for `correct`.
        """
        t, pixels = self._checked(t), self._checked_mask(mask)
        with self._lock:
            self._writable()
            if self._codes[t] in PERSONS:
                return False
            self._stale = self._stale or t in self._undone
            self._undone.discard(t)
            try:
                self._masks[t] = pixels
                self._record(Entry(t, "proposed", model_version, MODEL, now(), uncertainty))
            except OSError as error:
                raise self._not_written(error) from error
        self._tell(t)
        return True

    def accept(self, t: int, author: str | None = None) -> None:
        """A person vouches for this frame's mask as it is; models leave it alone from now on.

        Raises
        ------
        SessionError
            If there is nothing to accept yet, or it cannot be written.
        """
        self._restate(t, "accepted", author)

    def clear(self, t: int, author: str | None = None) -> None:
        """A person gives this frame back: its mask is emptied and models may propose again."""
        t = self._checked(t)
        with self._lock:
            self._writable()
            try:
                self._masks[t] = np.zeros(self.shape[1:], np.uint8)
                self._record(Entry(t, "empty", author or self.author, PERSON, now()), sync=True)
            except OSError as error:
                raise self._not_written(error) from error
        self._tell(t)

    def _restate(self, t: int, status: str, author: str | None) -> None:
        t = self._checked(t)
        with self._lock:
            self._writable()
            if self._codes[t] == STATUS_CODES["empty"]:
                raise SessionError(f"Frame {t} has no mask to accept yet. Propose or draw one first.")
            try:
                self._record(Entry(t, status, author or self.author, PERSON, now()), sync=True)
            except OSError as error:
                raise self._not_written(error) from error
        self._tell(t)

    def editable(self) -> MaskEditor:
        """The masks as an array that a person may paint on; every write goes through `correct`."""
        return MaskEditor(self)

    def on_change(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call ``listener(frame, status)`` after every write, in the thread that wrote.

        Returns
        -------
        callable
            Call it to stop listening.
        """
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    # -- inside ---------------------------------------------------------------------------------------------------

    def strokes_are_stale(self) -> bool:
        """Whether a model has, since the last call, written on a frame whose strokes had all been undone.

        A painter's undo history then holds pixels of the mask before; it should be forgotten.
        """
        with self._lock:
            stale, self._stale = self._stale, False
            return stale

    def _remember_untouched(self, t: int) -> None:
        """Keep what a frame was before a person first touched it."""
        status = self.status(t)
        if status == "empty":
            entry = Entry(t, "empty", self.author, PERSON, now())
        elif status == "proposed":
            author, doubt = self._proposers.get(t, ""), float(self._uncertainty[t])
            entry = Entry(t, "proposed", author, MODEL, now(), None if np.isnan(doubt) else doubt)
        else:
            return
        self._untouched[t] = (_digest(np.asarray(self._masks[t])), entry)

    def _replay(self) -> None:
        for entry in self._ledger:
            if not 0 <= entry.frame < len(self):
                raise SessionError(
                    f"The ledger of {self.folder} speaks of frame {entry.frame}, which does not exist."
                )
            self._apply(entry)
            self._last[entry.frame] = (entry, -np.inf)

    def _apply(self, entry: Entry) -> None:
        self._codes[entry.frame] = STATUS_CODES[entry.status]
        if entry.status == "empty":
            self._uncertainty[entry.frame] = np.nan
        elif entry.kind == MODEL:
            self._proposers[entry.frame] = entry.author
            self._uncertainty[entry.frame] = np.nan if entry.uncertainty is None else entry.uncertainty

    def _record(self, entry: Entry, sync: bool = False) -> None:
        """Append to the ledger, unless it would say again what was said for this frame a moment ago."""
        last, at = self._last.get(entry.frame, (None, 0.0))
        same = last is not None and (last.status, last.author, last.kind) == (
            entry.status,
            entry.author,
            entry.kind,
        )
        if same and entry.kind == PERSON and time.monotonic() - at < RESTATE_SECONDS:
            return
        self._ledger.append(entry, sync)
        self._last[entry.frame] = (entry, time.monotonic())
        self._apply(entry)

    def _take_back(self, t: int, before: tuple[Entry, float] | None) -> None:
        """Say again what was said of a frame before an edit whose pixels could not be written."""
        if self._last.get(t) != before:
            entry = before[0] if before else Entry(t, "empty", self.author, PERSON, "")
            self._record(replace(entry, time=now()))

    def _tell(self, t: int) -> None:
        status = self.status(t)
        for listener in tuple(self._listeners):
            listener(t, status)

    def _checked(self, t: int) -> int:
        if not 0 <= int(t) < len(self):
            raise IndexError(f"Frame {t} is not in a video of {len(self)} frames.")
        return int(t)

    def _checked_mask(self, mask: ArrayLike) -> NDArray[np.uint8]:
        pixels = np.asarray(mask)
        if pixels.shape != self.shape[1:]:
            raise ValueError(f"A mask of this video is {self.shape[1:]} pixels, not {pixels.shape}.")
        if pixels.dtype == np.uint8:
            return pixels
        with np.errstate(invalid="ignore"):
            labels = pixels.astype(np.uint8)
        if not np.array_equal(labels, pixels):
            raise ValueError("Labels must be whole numbers from 0 to 255.")
        return labels

    def _writable(self) -> None:
        if self.read_only:
            raise SessionError("This session is closed or open for reading only. Open it again to go on.")

    def _not_written(self, error: OSError) -> SessionError:
        return SessionError(
            f"Cannot write to {self.folder}: {error.strerror or error}. Free some space or check the folder, then "
            "repeat the last step; everything before it is safe."
        )


def _digest(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


def _account_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"  # an account without a name, as in some containers


def _create(folder: Path, video: Video) -> None:
    """Make the folder of a new session; ``session.json`` comes last, so that it stands only on a whole session."""
    shape = (len(video), int(video.shape[1]), int(video.shape[2]))
    try:
        recorded = os.path.relpath(video.path, folder)
    except ValueError:  # another drive
        recorded = str(Path(video.path).absolute())
    description = Description(
        SCHEMA, recorded, video.identity(), shape, video.fps, video.pixel_spacing_mm, ("lesion",), now()
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock_folder(folder):
            if (folder / "session.json").is_file():
                return  # another program has just made it
            if (folder / "ledger.jsonl").exists():
                raise SessionError(
                    f"{folder} holds work but no session.json. Restore it from a backup, or choose another folder."
                )
            create_masks(folder / "masks.zarr", shape)
            description.write(folder / "session.json")
    except OSError as error:
        raise SessionError(
            f"Cannot make a session in {folder}: {error.strerror or error}. Choose a session folder you can write to."
        ) from error


def _check_same_video(description: Description, video: Video, folder: Path) -> None:
    shape = (len(video), int(video.shape[1]), int(video.shape[2]))
    if shape != description.shape or video.identity() != description.identity:
        raise SessionError(
            f"{folder.name} was made for another video: it has {description.shape[0]} frames of "
            f"{description.shape[2]}x{description.shape[1]}, this one {shape[0]} of {shape[2]}x{shape[1]}, or its "
            "content has changed. Open the original video, or choose another session folder for this one."
        )


def _lock_folder(folder: Path) -> FileLock:
    """Become the one writer of a folder; any thread may let go of it again."""
    lock = FileLock(folder / "lock", timeout=0, thread_local=False)
    holder = folder / "lock.holder"
    try:
        lock.acquire()
        try:
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        except OSError:
            lock.release()
            raise
    except Timeout as error:
        known = f" ({holder.read_text(errors='replace')})" if holder.is_file() else ""
        raise SessionError(
            f"{folder} is open in another window or program{known}. Close it there first, or open it for reading only."
        ) from error
    except OSError as error:
        raise SessionError(
            f"Cannot write in {folder}: {error.strerror or error}. Choose a session folder you can write to."
        ) from error
    return lock
