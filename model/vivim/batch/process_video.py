"""Do one job: the same function whether this process works through a list or a worker of a cluster does it.

What it makes is written in place, but by names that only whole things have: a session is safe at any moment, an
export is written beside its place and moved there. That a video is done is said by the manifest alone, afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vivim import api
from vivim.analysis.calibration import area_mm2, regions_of
from vivim.batch.content import Content, content_of, files_in, stamp_of
from vivim.batch.earlier import is_of, keep_edited, note_content, prepare_session
from vivim.batch.jobs import DONE, FAILED, LONG, PART, SESSION, SKIPPED, Job, Outcome, Segmenting, Working
from vivim.batch.manifest import outcome_of
from vivim.batch.splitting import join, lost_frames, part_folder, remove_parts, splittable
from vivim.errors import CheckpointError, VideoChangedError, VideoError, VideoMissingError, VivimError
from vivim.imaging.components import Cleaning
from vivim.io.export import FILES, chosen_frames, export
from vivim.registry.registry import ModelCache
from vivim.session import Session
from vivim.session.damage_check import damage_text
from vivim.session.ledger import LEDGER
from vivim.session.mask_store import MASKS
from vivim.session.metadata import FILE
from vivim.utils.system import trim
from vivim.video import Video, open_video

if TYPE_CHECKING:
    from vivim.network import Vivim

Doing = Generator[Working, None, Outcome]
_log = logging.getLogger(__name__)
models = ModelCache()
"""The model of the latest job, for the next."""


def do(job: Job) -> Doing:
    """Do a job, unless the manifest says that it is done and nothing has changed since.

    Closing the generator stops; what is written by then is whole, or is swept away by the next run. Returns also where
    it failed: one video that fails does not stop the others.
    """
    began = time.monotonic()
    try:
        if not isinstance(job.options, Segmenting):
            outcome = yield from _export(job)
        elif job.part is None:
            outcome = yield from _segment(job, job.options)
        else:
            outcome = yield from _part(job, job.options)
    except VideoChangedError as error:
        return Outcome(
            job.stem,
            FAILED,
            reason=f"{error.video.name} is another video than {error.folder} was made for. Put the original back, or "
            "segment the new one by its own path: vivim segment VIDEO -o OUT.",
        )
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


# -- what was done before ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A video as it is now: its identity, its path and files, and what they hold."""

    identity: str
    path: Path
    files: tuple[Path, ...]
    content: Content

    def check(self, job: Job) -> Iterator[Working]:
        """Make sure that the video still holds what it held. Raises `VideoError` if it was changed."""
        if stamp_of(self.path, self.files) == self.content.stamp:
            return
        content = yield from _digested(job, self.path, self.files)
        if content.digest != self.content.digest:
            raise _changed(self.path)


def _see(job: Job, video: Video) -> Generator[Working, None, Seen]:
    path, files = Path(video.path), tuple(video.files)
    return Seen(video.identity(), path, files, (yield from _digested(job, path, files)))


def _digested(job: Job, path: Path, files: Sequence[Path]) -> Generator[Working, None, Content]:
    reading = content_of(path, files)
    try:
        while True:
            done, total = next(reading)
            yield Working(job.stem, f"reading {path.name} in MiB", done >> 20, max(1, total >> 20))
    except StopIteration as end:
        return end.value


def _changed(path: Path) -> VideoError:
    return VideoError(f"{path.name} was changed while it was worked on. Run the same command again.")


def same_as_before(job: Job, identity: str, content: str, state: str) -> bool:
    """Whether the manifest speaks of the same video, model, options and masks, whatever the formats."""
    before = job.before
    if before is None or before["status"] != DONE:
        return False
    options = {**before["options"], "formats": job.options.decisive()["formats"]}
    then = before["video"], before["content"], before["state"], options
    return then == (identity, content, state, job.options.decisive())


def _before(job: Job, status: str) -> Outcome:
    """What the manifest says of a job that is done."""
    assert job.before is not None
    before = outcome_of(job.before, status)
    files = {name: f"{job.stem}/{FILES[name]}" for name in before.digests if name in FILES}
    return replace(before, files=files, note="")


def stale(job: Job) -> Generator[Working, None, tuple[list[str], dict[str, Path]]]:
    """Formats whose output is not as it was written, and by format, what is in their place instead."""
    digests = job.before["digests"] if job.before is not None else {}
    formats, others = [], {}
    for name in job.options.formats:
        path = job.folder / FILES[name]
        if name in digests and (yield from _output_digest(job, path)) == digests[name]:
            continue
        formats.append(name)
        if os.path.lexists(path):
            others[name] = path
    return formats, others


def _output_digest(job: Job, path: Path) -> Generator[Working, None, str]:
    try:
        files = files_in(path)
        return (yield from _digested(job, path, files)).digest if files else ""
    except OSError:
        return ""  # gone meanwhile, or not to be read: it is written again


def _written_again(session: Session, job: Job, formats: Sequence[str], others: Mapping[str, Path]) -> Doing:
    """Export only some formats of a job that is done otherwise. What was measured then still holds."""
    before = _before(job, DONE)
    with keep_edited(job, others) as notes:
        files, digests = yield from _exported(session, job, formats)
    files, digests = {**before.files, **files}, {**before.digests, **digests}
    return replace(before, files=files, digests=digests, note=" ".join(notes))


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


def _masks_too(job: Job, folder: Path) -> Generator[Working, None, str]:
    """`state_of`, and a digest of the masks on the disk: of a session that this program wrote, and can write again."""
    return f"{state_of(folder)}-{(yield from _output_digest(job, folder / MASKS))[:32]}"


# -- segmenting --------------------------------------------------------------------------------------------------------


def _segment(job: Job, options: Segmenting) -> Doing:
    seen = yield from _see_for(job)
    home, note = job.folder / SESSION, ""
    if (Path(job.path) / FILE).is_file():
        home = Path(job.path)
        _check_own(home, seen)
    else:
        note = prepare_session(job, seen.identity, seen.content.digest)
    if not job.parts and (home / FILE).is_file():
        state = yield from _masks_too(job, home)
        if same_as_before(job, seen.identity, seen.content.digest, state):
            formats, others = yield from stale(job)
            if not formats:
                return _before(job, SKIPPED)
            with Session.open(job.path, folder=home, read_only=True) as session:
                outcome = yield from _written_again(session, job, formats, others)
                yield from seen.check(job)
            return outcome
    with Session.open(job.path, folder=home) as session:
        note_content(home, seen.identity, seen.content.digest)
        if not job.parts and options.split and splittable(session, options):
            return Outcome(
                job.stem, LONG, session.identity, frames=len(session), content=seen.content.digest, note=note
            )
        _set_area(session, options)
        if job.parts:
            yield from join(session, job, options)
        else:
            yield from _propose(session, job, options, None)
        beyond = range(len(session), session.video.frames_stated)
        lost = lost_frames(session.video, [*session.frames_with("empty"), *beyond])
        outcome = yield from _written(session, job, lost)
        yield from seen.check(job)
        session.flush()
        state = yield from _masks_too(job, session.folder)  # before anybody else may open it
        told = f"{damage_text(lost)} in {seen.path.name} itself, and without masks." if lost else ""
        note = " ".join(filter(None, (note, *session.video.notes, told, outcome.note)))
        outcome = replace(outcome, content=seen.content.digest, state=state, note=note)
    remove_parts(job)
    return outcome


def _see_for(job: Job) -> Generator[Working, None, Seen]:
    """The video to segment. Raises `VideoError` if a part of it was segmented when it was another."""
    if (Path(job.path) / FILE).is_file():
        with Session.open(job.path, read_only=True) as session:
            seen = yield from _see(job, session.video)
    else:
        with closing(open_video(job.path)) as video:
            seen = yield from _see(job, video)
    if job.content and job.content != seen.content.digest:
        raise _changed(seen.path)
    return seen


def _check_own(home: Path, seen: Seen) -> None:
    """Refuse a session that was named itself, if a person corrected frames of another content of its video."""
    if is_of(home, seen.identity, seen.content.digest):
        return
    with Session.open(home, read_only=True) as session:
        if session.frames_with("corrected", "accepted"):
            raise VideoError(
                f"{seen.path.name} was changed since frames were corrected in {home.name}. Put the original back, or "
                "name the video instead of the session: it gets a session of its own in the output."
            )


def _part(job: Job, options: Segmenting) -> Doing:
    """Propose one range of a long video, in a session of its own. What is there from an earlier run is kept."""
    assert job.part is not None
    frames = range(*job.part)
    yield from _see_for(job)
    with Session.open(job.path, folder=part_folder(job, job.part)) as session:
        _set_area(session, options)
        for t in session.damage:
            session.reset(t)  # nobody has drawn here: it is proposed again
        if set(frames) - set(session.frames_with("proposed")):
            yield from _propose(session, job, options, frames)
        session.flush()
        return Outcome(job.stem, PART, session.identity, frames=len(frames))


def _propose(session: Session, job: Job, options: Segmenting, frames: range | None) -> Iterator[Working]:
    events = api.propose(
        session,
        model_for(options),
        frames=frames,
        clip_length=options.clip_length,
        device=options.device,
        windows=options.windows,
        batch_size=options.batch_size,
        precision=options.precision,
    )
    # ranges are done in order: where this one is in the video
    before = frames.start if frames is not None else 0
    for event in events:
        total = event.total if frames is None else len(session)
        stage = f"proposing {event.note}".strip()
        yield Working(job.stem, stage, before + event.done, total, event.seconds_left)


def _set_area(session: Session, options: Segmenting) -> None:
    """Show the model the part of the picture that was asked for. As it is in the session, if nothing was."""
    if options.area is None:
        return
    if isinstance(options.area, str):
        from vivim.video.content_area import content_area

        area = content_area(session.video)
    else:
        area = options.area
    try:
        session.set_area(area)
    except ValueError as error:
        raise VideoError(str(error)) from error


def model_for(options: Segmenting) -> Vivim:
    """The model of a job, kept in memory for the next. Another version than that handed out is an error."""
    model = models.load(options.model)
    if model.version != options.version:
        raise CheckpointError(
            f"The model {model.name!r} is of version {model.version} on this machine, but {options.version} is asked "
            "for. Give --model a file in a folder that all machines share, and the same napari-vivim to all."
        )
    return model


# -- writing -----------------------------------------------------------------------------------------------------------


def _export(job: Job) -> Doing:
    with Session.open(job.path, read_only=True) as session:
        # what somebody corrects from now on may come too late for the files
        state, seen = state_of(session.folder), (yield from _seen_if_there(job, session))
        content = seen.content.digest if seen else job.before["content"] if job.before else ""
        if same_as_before(job, session.identity, content, state):
            formats, others = yield from stale(job)
            if not formats:
                return _before(job, SKIPPED)
            outcome = yield from _written_again(session, job, formats, others)
        else:
            outcome = yield from _written(session, job)
        if seen:
            yield from seen.check(job)
    return replace(outcome, content=content, state=state)


def _seen_if_there(job: Job, session: Session) -> Generator[Working, None, Seen | None]:
    """The video of a session. None if it is gone or damaged or was replaced: files that are whole stay as they are."""
    try:
        video = session.video
    except (VideoMissingError, VideoChangedError, VideoError):
        return None
    return (yield from _see(job, video))


def _written(session: Session, job: Job, lost: Collection[int] = ()) -> Doing:
    """Export all formats, and measure what was exported. Of frames that are `lost` there is no picture."""
    _, others = yield from stale(job)
    with keep_edited(job, others) as notes:
        files, digests = yield from _exported(session, job, job.options.formats, lost)
    outcome = yield from _measured(session, job, files, lost)
    return replace(outcome, digests=digests, note=" ".join(notes))


def _exported(
    session: Session, job: Job, formats: Sequence[str], lost: Collection[int] = ()
) -> Generator[Working, None, tuple[dict[str, str], dict[str, str]]]:
    """Export some formats. Returns where each is below the output folder, and the digest of what it holds."""
    options, files, digests = job.options, {}, {}
    events = export(
        session,
        job.folder,
        formats,
        only=options.only,
        frames=options.frames,
        min_area_px=options.min_area_px,
        fill_holes=options.fill_holes,
        lost=lost,
    )
    for event in events:
        files[event.format] = event.path.relative_to(job.out).as_posix()
        stage = f"writing {event.format}" + (f", {event.note}" if event.note else "")
        yield Working(job.stem, stage, event.done, event.total)
    for name in files:
        digests[name] = yield from _output_digest(job, job.folder / FILES[name])
    return files, digests


def _measured(session: Session, job: Job, files: dict[str, str], lost: Collection[int]) -> Doing:
    """Lesion areas of the frames that were written. All classes together, cleaned as they were for writing."""
    options = job.options
    chosen = chosen_frames(session, options.only, options.frames)
    frames = [t for t in chosen if t not in lost and not session.damaged(t)]
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
        damaged=sorted({*lost, *(t for t in chosen if t in session.damage)}),
    )
