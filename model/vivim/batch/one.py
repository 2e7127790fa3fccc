"""Do one job: the same function whether this process works through a list or a worker of a cluster does it.

What it makes is written in place, but by names that only whole things have: a session is safe at any moment, an
export is written beside its place and moved there. That a video is done is said by the manifest alone, afterwards.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vivim.batch.jobs import DONE, FAILED, LONG, PART, SESSION, SKIPPED, Job, Outcome, Segmenting, Working
from vivim.batch.manifest import outcome_of
from vivim.batch.ranges import forget_parts, join, part_folder, splittable
from vivim.errors import CheckpointError, VideoError, VivimError
from vivim.leavings import flush
from vivim.memory import trim
from vivim.session.description import FILE
from vivim.session.record import LEDGER

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

Doing = Generator[Working, None, Outcome]
_log = logging.getLogger(__name__)


def do(job: Job) -> Doing:
    """Do a job, unless the manifest says that it is done and nothing has changed since.

    Yields
    ------
    Working
        Progress. Closing the generator stops; what is written by then is whole, or is swept away by the next run.

    Returns
    -------
    Outcome
        Also where it failed: one video that fails does not stop the others.
    """
    began = time.monotonic()
    try:
        outcome = yield from _doing(job)
    except (VivimError, OSError) as error:
        return Outcome(job.stem, FAILED, reason=str(error))
    except Exception as error:  # a bug, or a video damaged in a way no reader foresaw: the others go on
        _log.exception("%s failed", job.stem)
        return Outcome(job.stem, FAILED, reason=f"{type(error).__name__}: {error}")
    finally:
        trim()  # else a short video after another adds to what the C library keeps
    if outcome.status == SKIPPED:
        return outcome
    return replace(outcome, seconds=round(time.monotonic() - began, 3))


def _doing(job: Job) -> Doing:
    if unchanged(job):
        assert job.before is not None
        return outcome_of(job.before, SKIPPED)
    if not isinstance(job.options, Segmenting):
        return (yield from _export(job))
    return (yield from (_segment(job, job.options) if job.part is None else _part(job, job.options)))


def unchanged(job: Job) -> bool:
    """Whether a job was done before: same video, model and options, nothing corrected since, all files there."""
    from vivim.session import Session

    before = job.before
    if before is None or before["status"] != DONE or before["options"] != job.options.decisive():
        return False
    folder = _session_folder(job)
    if not (folder / FILE).is_file() or state_of(folder) != before["state"]:
        return False
    if not all(Path(job.out, name).exists() for name in before["files"].values()):
        return False
    with Session.open(job.path, folder=folder, read_only=True) as session:
        return session.identity == before["video"]


def _session_folder(job: Job) -> Path:
    """Where the session of a job is, as far as can be known without opening its video."""
    from vivim.session.folder import SUFFIX

    path = Path(job.path)
    if (path / FILE).is_file():
        return path
    return job.folder / SESSION if job.options.task == "segment" else path.with_name(path.name + SUFFIX)


def state_of(folder: Path) -> str:
    """Digest of a session's ledger, which grows with everything that is done to a mask, and of what it describes.

    The description holds the picture area and the names of classes, which exports show.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (FILE, LEDGER):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
    return digest.hexdigest()


# -- segmenting --------------------------------------------------------------------------------------------------------


def _segment(job: Job, options: Segmenting) -> Doing:
    from vivim.session import Session

    with Session.open(job.path, folder=job.folder / SESSION) as session:
        if not job.parts and options.split and splittable(session, options):
            return Outcome(job.stem, LONG, session.identity, frames=len(session))
        _set_area(session, options)
        if job.parts:
            yield from join(session, job, options)
        else:
            yield from _propose(session, job, options, None)
        outcome = yield from _written(session, job)
        flush(session.folder)
        outcome = replace(outcome, state=state_of(session.folder))  # before anybody else may open it
    forget_parts(job)
    return outcome


def _part(job: Job, options: Segmenting) -> Doing:
    """Propose one range of a long video, in a session of its own; what is there from an earlier run is kept."""
    from vivim.session import Session

    assert job.part is not None
    frames = range(*job.part)
    with Session.open(job.path, folder=part_folder(job, job.part)) as session:
        _set_area(session, options)
        for t in session.damage:
            session.clear(t)  # nobody has drawn here: it is proposed again
        if set(frames) - set(session.frames_with("proposed")):
            yield from _propose(session, job, options, frames)
        flush(session.folder)
        return Outcome(job.stem, PART, session.identity, frames=len(frames))


def _propose(session: Session, job: Job, options: Segmenting, frames: range | None) -> Iterator[Working]:
    from vivim.inference import propose

    events = propose(
        session,
        model_for(options),
        frames=frames,
        clip_length=options.clip_length,
        device=options.device,
        windows=options.windows,
        batch_size=options.batch_size,
        precision=options.precision,
    )
    before = (
        frames.start if frames is not None else 0
    )  # ranges are done in order: where this one is in the video
    for event in events:
        total = event.total if frames is None else len(session)
        stage = f"proposing {event.note}".strip()
        yield Working(job.stem, stage, before + event.done, total, event.seconds_left)


def _set_area(session: Session, options: Segmenting) -> None:
    """Show the model the part of the picture that was asked for; as it is in the session, if nothing was."""
    if options.area is None:
        return
    if isinstance(options.area, str):
        from vivim.video import content_area

        area = content_area(session.video)
    else:
        area = options.area
    try:
        session.set_area(area)
    except ValueError as error:
        raise VideoError(str(error)) from error


def model_for(options: Segmenting) -> Vivim:
    """The model of a job, kept in memory for the next.

    Raises
    ------
    CheckpointError
        If it cannot be loaded, or is another here than where the work was handed out.
    """
    model = loaded(options.model)
    if model.version != options.version:
        raise CheckpointError(
            f"The model {model.name!r} is of version {model.version} on this machine, but {options.version} is asked "
            "for. Give --model a file in a folder that all machines share, and the same napari-vivim to all."
        )
    return model


def loaded(name: str) -> Vivim:
    """A model by name or path; the last one stays in memory until its file changes."""
    from vivim.models import model_path

    path = model_path(name)
    return _loaded(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, _changed: int) -> Vivim:
    from vivim.models import load_model

    return load_model(path)


# -- writing -----------------------------------------------------------------------------------------------------------


def _export(job: Job) -> Doing:
    from vivim.session import Session

    with Session.open(job.path, read_only=True) as session:
        state = state_of(session.folder)  # what somebody corrects from now on may come too late for the files
        outcome = yield from _written(session, job)
    return replace(outcome, state=state)


def _written(session: Session, job: Job) -> Doing:
    """Export, and measure what was exported."""
    from vivim.export import export

    options, files = job.options, {}
    events = export(
        session,
        job.folder,
        options.formats,
        only=options.only,
        frames=options.frames,
        min_area_px=options.min_area_px,
        fill_holes=options.fill_holes,
    )
    for event in events:
        files[event.format] = event.path.relative_to(job.out).as_posix()
        stage = f"writing {event.format}" + (f", {event.note}" if event.note else "")
        yield Working(job.stem, stage, event.done, event.total)
    return (yield from _measured(session, job, files))


def _measured(session: Session, job: Job, files: dict[str, str]) -> Doing:
    """Lesion areas of the frames that were written; all classes together, cleaned as they were for writing."""
    import numpy as np

    from vivim.export.api import chosen_frames
    from vivim.lesions import Cleaning
    from vivim.scale import area_mm2, regions_of

    options = job.options
    chosen = chosen_frames(session, options.only, options.frames)
    frames = [t for t in chosen if not session.damaged(t)]
    clean = Cleaning(options.min_area_px, options.fill_holes)
    regions, spacing = regions_of(session.video), session.pixel_spacing_mm
    areas, seen_mm2 = [], []
    for done, t in enumerate(frames, start=1):
        mask = clean(session.masks[t])
        areas.append(int(np.count_nonzero(mask)))
        if areas[-1]:
            seen_mm2.append(area_mm2(mask, regions, spacing))
        yield Working(job.stem, "measuring", done, len(frames))
    seen = [area for area in areas if area]
    mean = sum(seen) / len(seen) if seen else 0.0
    known = [area for area in seen_mm2 if area is not None]
    mean_mm2 = sum(known) / len(known) if known else 0.0 if spacing else None
    return Outcome(
        job.stem,
        DONE,
        session.identity,
        frames=len(frames),
        lesion_frames=len(seen),
        mean_area_px=round(mean, 2),
        largest_area_px=max(areas, default=0),
        mean_area_mm2=None if mean_mm2 is None or len(known) < len(seen) else round(mean_mm2, 4),
        files=files,
        damaged=[t for t in chosen if t in session.damage],
    )
