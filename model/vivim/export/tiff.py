"""Masks as one TIFF stack of labels, in ImageJ's dialect, with the time step and the size of a pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

if TYPE_CHECKING:
    from vivim.session import Session


def write_tiff(session: Session, path: Path, frames: Sequence[int]) -> Iterator[int]:
    """Write one page a frame, labels as they are (0 is background); yields how many are done."""
    metadata: dict[str, object] = {"axes": "TYX"}
    if session.fps:
        metadata |= {"fps": session.fps, "finterval": 1.0 / session.fps}
    resolution = None
    if session.pixel_spacing_mm:
        metadata["unit"] = "mm"
        resolution = (1.0 / session.pixel_spacing_mm[1], 1.0 / session.pixel_spacing_mm[0])
    progress: list[int] = []

    def pages() -> Iterator[np.ndarray]:
        for t in frames:
            yield np.asarray(session.masks[t])
            progress.append(t)

    with tifffile.TiffWriter(path, imagej=True) as writer:
        writer.write(
            pages(),
            shape=(len(frames), *session.shape[1:]),
            dtype=np.uint8,
            resolution=resolution,
            metadata=metadata,
        )
    yield len(progress)
