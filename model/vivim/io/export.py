"""`export`: which frames, which formats, and the moving into place."""

import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from vivim.errors import ExportError
from vivim.imaging.components import Cleaning
from vivim.io import formats as known
from vivim.io.mask_source import Work
from vivim.session import Session
from vivim.session.damage_check import damage_text
from vivim.utils.atomic_files import flush, part_of, put_in_place, remove, sweep
from vivim.utils.stalling_io import in_background

SCOPES = ("all", "corrected")
LOOKED_AT_ONCE = 64
"""Frames that are looked at for damage between two events."""


@dataclass(frozen=True)
class ExportEvent:
    """Progress: `done` of `total` frames of one format. `path` is where it is, or will be, whole.

    `note` says so where nothing has come of it for a while, as happens on a network share that stalls. `damaged` are
    the frames asked for whose masks are damaged; they are left out, or empty.
    """

    format: str
    done: int
    total: int
    path: Path
    note: str = ""
    damaged: tuple[int, ...] = ()


FORMATS = tuple(known.FORMATS)

FILES = {name: one.file for name, one in known.FORMATS.items()}
"""For each format the name of what it makes in the output folder."""


def export(
    session: Session,
    out: str | Path,
    formats: Sequence[str] = ("png",),
    *,
    only: str | None = "all",
    frames: tuple[int | None, int | None] | None = None,
    min_area_px: int = 0,
    fill_holes: bool = False,
    lost: Collection[int] = (),
) -> Iterator[ExportEvent]:
    """Export a session's masks.

    Parameters
    ----------
    session : Session
        Whose masks.
    out : str or Path
        Folder, made if absent. Each format makes one file or folder in it, see ``docs/formats``; what is there
        under the same name is replaced at the end.
    formats : sequence of str
        Any of `FORMATS`. Only ``"dicom-seg"`` holds who the patient is.
    only : str or None
        ``"all"`` frames (or None), or ``"corrected"``: those a person corrected or accepted.
    frames : tuple of int or None, optional
        Of those, the frames from the first number up to, not including, the second; None for the beginning or end.
    min_area_px : int
        Leave out connected parts of fewer pixels.
    fill_holes : bool
        Fill what a mask encloses.
    lost : collection of int
        Frames that the video has no picture of. They count as damaged.

    Yields
    ------
    ExportEvent
        After each frame of each format, and the same again while a disk does not answer. Closing the generator removes
        what is not finished, also if a disk does not answer: as soon as it does. Frames that are damaged are left out,
        or empty in formats in which a frame is found by its place; each event names them.

    Raises
    ------
    ExportError
        If a format or scope is unknown, there is nothing to export, or the folder cannot be written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        wrong = unknown[0] if unknown else "nothing"
        raise ExportError(f"Cannot export {wrong!r}. Formats are {', '.join(FORMATS)}.")
    work = Work(session, chosen_frames(session, only or "all", frames), Cleaning(min_area_px, fill_holes))
    folder = Path(out)
    latest = ExportEvent(formats[0], 0, len(work.frames), folder / FILES[formats[0]])
    since = time.monotonic()
    try:
        with closing(in_background(_all(session, formats, work, folder, lost), "vivim-export")) as events:
            for event in events:
                if event is None:
                    yield replace(latest, note=f"no answer for {time.monotonic() - since:.0f} s")
                    continue
                latest, since = event, time.monotonic()
                yield event
    except OSError as error:
        raise ExportError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder or free some space; "
            "the session is untouched."
        ) from error


def _all(
    session: Session, formats: Sequence[str], work: Work, folder: Path, lost: Collection[int]
) -> Generator[ExportEvent, None, None]:
    before, chosen, damaged = range(max(work.frames)), set(work.frames), set(lost)
    by_lesion = any(known.FORMATS[name].by_lesion for name in formats)
    looked_at = sorted(chosen.union(before)) if by_lesion else work.frames
    first = ExportEvent(formats[0], 0, len(work.frames), folder / FILES[formats[0]], "looking for damage")
    for done, t in enumerate(looked_at, start=1):
        if session.damaged(t):
            damaged.add(t)
        if done % LOOKED_AT_ONCE == 0:
            yield first
    left_out = tuple(sorted(damaged & chosen))
    if len(left_out) == len(work.frames):
        raise ExportError(
            f"{damage_text(left_out)}. Nothing else is to be exported: draw them anew, or move {session.folder} away "
            "and have the video proposed again."
        )
    work = replace(work, damaged=frozenset(damaged))
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    for name in dict.fromkeys(formats):
        usable = work if known.FORMATS[name].stack else work.without_damaged()
        for event in write_as(name, usable, folder / FILES[name]):
            yield replace(event, damaged=left_out)


def chosen_frames(session: Session, only: str, part: tuple[int | None, int | None] | None) -> list[int]:
    """Numbers of the frames of a scope. Raises `ExportError` if there is no such scope, or nothing in it."""
    if only not in SCOPES:
        raise ExportError(f"Unknown scope {only!r}. Choose one of {', '.join(SCOPES)}.")
    if only == "corrected":
        frames = session.frames_with("corrected", "accepted")
        if not frames:
            raise ExportError("No frame is corrected or accepted yet. Correct some, or export all frames.")
    else:
        if not session.frames_with("proposed", "corrected", "accepted"):
            raise ExportError("There are no masks yet. Propose or draw some first.")
        frames = list(range(len(session)))
    start, stop = part or (None, None)
    found = [t for t in frames if (start or 0) <= t < (len(session) if stop is None else stop)]
    if not found:
        raise ExportError(
            f"No such frame from {start or 0} to {len(session) if stop is None else stop}: the video has "
            f"{len(session)}, the first is 0, and the last number is not included. Choose another range."
        )
    return found


def write_as(name: str, work: Work, final: Path) -> Iterator[ExportEvent]:
    """Write one format to a path, where it appears when it is whole. Yields after each frame."""
    total = len(work.frames)
    part = part_of(final)
    try:
        if known.FORMATS[name].by_lesion:
            for _ in work.lesions.link(max(work.frames) + 1):
                yield ExportEvent(name, 0, total, final)
        with closing(known.loaded(known.FORMATS[name].writer)(work, part)) as written:
            for done in written:
                if done < total:
                    yield ExportEvent(name, done, total, final)
        flush(part)
        # who gave up meanwhile does not want it put in place
        yield ExportEvent(name, total - 1, total, final)
        put_in_place(part, final)
    finally:
        remove(part)
    yield ExportEvent(name, total, total, final)
