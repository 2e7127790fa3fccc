"""`export`: which frames, which formats, and the moving into place."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.errors import ExportError
from vivim.export.measurements import write_measurements
from vivim.export.overlay import write_overlay
from vivim.export.png import write_png
from vivim.export.tiff import write_tiff
from vivim.leavings import OLD, own_name, part_of, remove, sweep

if TYPE_CHECKING:
    from vivim.session import Session

SCOPES = ("all", "corrected")


@dataclass(frozen=True)
class ExportEvent:
    """Progress: `done` of `total` frames of one format; `path` is where it is, or will be, whole."""

    format: str
    done: int
    total: int
    path: Path


Writer = Callable[["Session", Path, Sequence[int]], Generator[int, None, None]]
"""Writes frames of a session to a path and yields how many are done; on closing it leaves the rest to its caller."""

_WRITERS: dict[str, tuple[str, Writer]] = {
    "png": ("masks", write_png),
    "tiff": ("masks.tif", write_tiff),
    "mp4": ("overlay.mp4", write_overlay),
    "csv": ("measurements.csv", write_measurements),
}
"""For each format the name of what it makes in the output folder, and what makes it."""

FORMATS = tuple(_WRITERS)


def export(
    session: Session, out: str | Path, formats: Sequence[str] = ("png",), *, only: str | None = "all"
) -> Iterator[ExportEvent]:
    """Export a session's masks.

    Parameters
    ----------
    session : Session
        Whose masks.
    out : str or Path
        Folder, made if absent. It gets ``masks/000000.png`` (0 and 255, one a frame), ``masks.tif`` (labels),
        ``overlay.mp4``, ``measurements.csv``; what is there under these names is replaced at the end.
    formats : sequence of str
        Any of `FORMATS`.
    only : str or None
        ``"all"`` frames (or None), or ``"corrected"``: those a person corrected or accepted.

    Yields
    ------
    ExportEvent
        After each frame of each format. Closing the generator removes what is not finished.

    Raises
    ------
    ExportError
        If a format or scope is unknown, there is nothing to export, or the folder cannot be written.
    """
    unknown = [name for name in formats if name not in _WRITERS]
    if unknown or not formats:
        wrong = unknown[0] if unknown else "nothing"
        raise ExportError(f"Cannot export {wrong!r}. Formats are {', '.join(FORMATS)}.")
    frames = _frames(session, only or "all")
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        for name in dict.fromkeys(formats):
            yield from _one_format(session, folder, name, frames)
    except OSError as error:
        raise ExportError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder or free some space; "
            "the session is untouched."
        ) from error


def _frames(session: Session, only: str) -> list[int]:
    if only not in SCOPES:
        raise ExportError(f"Unknown scope {only!r}. Choose one of {', '.join(SCOPES)}.")
    if only == "corrected":
        frames = session.frames_with("corrected", "accepted")
        if not frames:
            raise ExportError("No frame is corrected or accepted yet. Correct some, or export all frames.")
        return frames
    if not session.frames_with("proposed", "corrected", "accepted"):
        raise ExportError("There are no masks yet. Propose or draw some first.")
    return list(range(len(session)))


def _one_format(session: Session, folder: Path, name: str, frames: Sequence[int]) -> Iterator[ExportEvent]:
    filename, write = _WRITERS[name]
    final = folder / filename
    part = part_of(final)
    try:
        with closing(write(session, part, frames)) as written:
            for done in written:
                if done < len(frames):
                    yield ExportEvent(name, done, len(frames), final)
        _replace(part, final)
    finally:
        remove(part)
    yield ExportEvent(name, len(frames), len(frames), final)


def _replace(part: Path, final: Path) -> None:
    """Put `part` in the place of `final`; a folder that is there is kept until the new one stands."""
    if not final.is_dir():
        os.replace(part, final)
        return
    old = final.with_name(own_name(OLD, final.name))
    os.rename(final, old)
    try:
        os.rename(part, final)
    except OSError:
        os.rename(old, final)
        raise
    remove(old)
