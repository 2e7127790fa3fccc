"""Long videos in ranges: where they are cut so that every window stays what it is, and how they become one again.

Each range is proposed into a session of its own in a hidden folder, so that several workers never write into one; the
last job copies the masks into the video's session, frame by frame. Windows that overlap are computed by both ranges.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from vivim.batch.jobs import Job, Segmenting, Working
from vivim.errors import BatchError, FrameError
from vivim.session import Session
from vivim.utils.atomic_files import remove
from vivim.video import Video

HIDDEN = ".ranges-"
SPLIT = 4096
"""Frames of a range, unless asked otherwise: minutes of work, next to which the join is nothing."""


def splittable(session: Session, options: Segmenting) -> bool:
    """Whether a video is worth cutting, and may be: a person's frames guide all others, so they must not be parted."""
    return (
        options.split is not None
        and len(session) > options.split
        and not session.frames_with("corrected", "accepted")
    )


def cut(total: int, options: Segmenting) -> list[tuple[int, int]]:
    """Ranges of a video of `total` frames, at multiples of what goes through the network together.

    Windows that do not overlap, and batches of them, are thus the same as for the video as a whole; where they
    overlap, a range computes all those that hold one of its frames.
    """
    assert options.split is not None
    step = options.clip_length * (options.batch_size or 1)
    length = -(-options.split // step) * step
    return [(first, min(first + length, total)) for first in range(0, total, length)]


def part_folder(job: Job, part: tuple[int, int]) -> Path:
    """The session of a range. Other options, another model or other content of the video make another folder."""
    decisive = json.dumps([job.options.decisive(), job.content])
    digest = hashlib.blake2b(decisive.encode(), digest_size=8).hexdigest()
    return job.folder / f"{HIDDEN}{digest}" / f"{part[0]:08d}-{part[1]:08d}.vivim"


def join(session: Session, job: Job, options: Segmenting) -> Iterator[Working]:
    """Copy the masks of all ranges into the session of the video."""
    for first, stop in job.parts:
        with Session.open(part_folder(job, (first, stop)), read_only=True) as part:
            there = part.frames_with("proposed")
            missing = set(range(first, stop)).difference(there)
            if part.identity != session.identity or missing.difference(lost_frames(session.video, missing)):
                raise BatchError(
                    f"Frames {first} to {stop} of {job.stem} are not whole. Run the same command again."
                )
            session.take_classes(part.classes)
            uncertainties, disagreements = part.uncertainty, part.disagreement
            for t in there:
                windows = None if math.isnan(disagreements[t]) else float(disagreements[t])
                session.propose(
                    t, part.masks[t], options.version, uncertainty=float(uncertainties[t]), windows=windows
                )
                yield Working(job.stem, "joining", t + 1, len(session))


def lost_frames(video: Video, frames: Iterable[int]) -> list[int]:
    """Those of some frames of a video that cannot be decoded."""
    lost = []
    for t in frames:
        try:
            video.frame(t)
        except FrameError:
            lost.append(t)
    return lost


def remove_parts(job: Job) -> None:
    """Remove the sessions of the ranges, of this run and of any before it."""
    for folder in job.folder.glob(f"{HIDDEN}*"):
        remove(folder)
