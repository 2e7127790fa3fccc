"""Sessions of this program as training material: the frames that a person corrected or accepted."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vivim.area import inside
from vivim.preprocess import resize_frame, resize_mask
from vivim.session import Session
from vivim.session.check import damage_text
from vivim.session.description import FILE
from vivim.training.data import Clip

_log = logging.getLogger(__name__)


def is_session(folder: Path) -> bool:
    """Whether `folder` is a session's."""
    return (folder / FILE).is_file()


def find_sessions(folder: Path) -> list[Path]:
    """The session that `folder` is, else the sessions in it."""
    if is_session(folder):
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{FILE}"))


def load_session(folder: Path, size: tuple[int, int], label: int | None = None) -> Clip | None:
    """A session's finished frames as a clip, resized; None where there are none.

    Frames nobody has looked at, and damaged ones, are left out, so neighbours in the clip may lie apart in time.

    Raises
    ------
    SessionError, VideoError
        If the session is damaged or its video is not there.
    """
    with Session.open(folder, read_only=True) as session:
        finished = session.vouched_frames()
        damaged = set(session.frames_with("corrected", "accepted")).difference(finished)
        if damaged:
            _log.warning("%s: %s; not used", folder.name, damage_text(damaged))
        if not finished:
            return None
        frames = np.stack(
            [resize_frame(inside(session.video.frame(t), session.area), size) for t in finished]
        )
        masks = [inside(session.masks[t], session.area) for t in finished]
    kept = [(mask > 0 if label is None else mask == label).astype(np.uint8) for mask in masks]
    return Clip(folder.name, frames, np.stack([resize_mask(mask, size) for mask in kept]))
