"""Masks as one PNG a frame: 0 for background, 255 for a lesion of any class."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from vivim.session import Session


def write_png(session: Session, path: Path, frames: Sequence[int]) -> Generator[int, None, None]:
    """Write ``path/000000.png`` and so on, named by frame number; yields how many are done."""
    path.mkdir()
    for done, t in enumerate(frames, start=1):
        mask = (np.asarray(session.masks[t]) > 0).astype(np.uint8) * 255
        Image.fromarray(mask).save(path / f"{t:06d}.png", compress_level=1)
        yield done
