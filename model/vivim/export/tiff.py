"""Masks as one TIFF stack of labels, one page a frame, with the time step and the size of a pixel.

In ImageJ's dialect, which ends at 4 GiB; longer videos become an OME BigTIFF, which Fiji and others read too.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from vivim.session import Session

IMAGEJ_BYTES = 2**32 - 2**26
"""Pixels beyond this do not fit into a plain TIFF with its directories."""
PAGE_BYTES = 1024
"""More than the directory of one page takes."""


def write_tiff(session: Session, path: Path, frames: Sequence[int]) -> Generator[int, None, None]:
    """Write one page a frame, labels as they are (0 is background); yields how many are done."""
    shape = (len(frames), *session.shape[1:])
    imagej = int(np.prod(shape)) + PAGE_BYTES * len(frames) < IMAGEJ_BYTES
    with tifffile.TiffWriter(path, imagej=imagej, ome=not imagej, bigtiff=not imagej) as writer:
        described = _imagej(session) if imagej else _ome(session)
        place = writer.write(
            None, shape=shape, dtype=np.uint8, photometric="minisblack", returnoffset=True, **described
        )
    assert place is not None  # where the pixels go; asked for by returnoffset
    with path.open("r+b") as file:
        file.seek(place[0])
        for done, t in enumerate(frames, start=1):
            file.write(np.ascontiguousarray(session.masks[t]).data)
            yield done


def _imagej(session: Session) -> dict[str, Any]:
    metadata: dict[str, object] = {"axes": "TYX"}
    if session.fps:
        metadata |= {"fps": session.fps, "finterval": 1.0 / session.fps}
    if not session.pixel_spacing_mm:
        return {"metadata": metadata}
    row, column = session.pixel_spacing_mm
    return {"metadata": metadata | {"unit": "mm"}, "resolution": (1.0 / column, 1.0 / row)}


def _ome(session: Session) -> dict[str, Any]:
    metadata: dict[str, object] = {"axes": "TYX"}
    if session.fps:
        metadata |= {"TimeIncrement": 1.0 / session.fps, "TimeIncrementUnit": "s"}
    if session.pixel_spacing_mm:
        row, column = session.pixel_spacing_mm
        metadata |= {"PhysicalSizeX": column, "PhysicalSizeXUnit": "mm"}
        metadata |= {"PhysicalSizeY": row, "PhysicalSizeYUnit": "mm"}
    return {"metadata": metadata}
