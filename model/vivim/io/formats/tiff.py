"""Masks as one TIFF stack of labels, one page a frame, with the time step and the size of a pixel.

`write_tiff` writes ImageJ's dialect, which ends at 4 GiB; longer videos become an OME BigTIFF. `write_ome_tiff` always
writes OME, which Fiji, QuPath, OMERO and others read.
"""

import json
import uuid
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from vivim.io.import_source import Found, ReadOptions, wrong_count, wrong_size
from vivim.io.mask_source import MaskStack, Work
from vivim.session import Session

PLAIN_BYTES = 2**32 - 2**26
"""Pixels beyond this do not fit into a plain TIFF with its directories."""
CLASSES = "vivim_classes"
"""In a file's description: values are classes, and these are their names."""
PAGE_BYTES = 1024
"""More than the directory of one page takes."""


def write_tiff(work: Work, path: Path) -> Generator[int, None, None]:
    """Write one page a frame, labels as they are (0 is background). Yields how many are done."""
    if _is_plain(work):
        yield from _write(work, path, (), _imagej(work.source), imagej=True)
    else:
        yield from _write(work, path, (), _ome(work, "TYX"), ome=True, bigtiff=True)


def write_ome_tiff(work: Work, path: Path) -> Generator[int, None, None]:
    """Write an OME-TIFF of axes TCYX with one channel, labels as they are. Yields how many are done."""
    described = _ome(work, "TCYX")
    described["metadata"] |= {"Channel": {"Name": ["labels"]}}
    yield from _write(work, path, (1,), described, ome=True, bigtiff=not _is_plain(work))


def _is_plain(work: Work) -> bool:
    """Whether all frames fit into a TIFF that is no BigTIFF."""
    return (int(np.prod(work.size)) + PAGE_BYTES) * len(work.frames) < PLAIN_BYTES


def _write(
    work: Work, path: Path, channels: tuple[int, ...], described: dict[str, Any], **dialect: Any
) -> Generator[int, None, None]:
    """Lay the file out, then fill in the pixels frame by frame."""
    shape = (len(work.frames), *channels, *work.size)
    with tifffile.TiffWriter(path, **dialect) as writer:
        place = writer.write(
            None, shape=shape, dtype=np.uint8, photometric="minisblack", returnoffset=True, **described
        )
    assert place is not None  # where the pixels go; asked for by returnoffset
    with path.open("r+b") as file:
        file.seek(place[0])
        for done, t in enumerate(work.frames, start=1):
            file.write(np.ascontiguousarray(work.mask(t)).data)
            yield done


def _imagej(source: Session | MaskStack) -> dict[str, Any]:
    metadata: dict[str, object] = {"axes": "TYX", CLASSES: json.dumps(source.classes)}
    if source.fps:
        metadata |= {"fps": source.fps, "finterval": 1.0 / source.fps}
    if not source.pixel_spacing_mm:
        return {"metadata": metadata}
    row, column = source.pixel_spacing_mm
    return {"metadata": metadata | {"unit": "mm"}, "resolution": (1.0 / column, 1.0 / row)}


def _ome(work: Work, axes: str) -> dict[str, Any]:
    """The identifier says which frames of which video. One made up anew would tell the machine and the time."""
    source = work.source
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{source.identity} {work.frames}")
    metadata: dict[str, object] = {"axes": axes, "UUID": f"urn:uuid:{name}"}
    metadata["Description"] = json.dumps({CLASSES: source.classes})
    if source.fps:
        metadata |= {"TimeIncrement": 1.0 / source.fps, "TimeIncrementUnit": "s"}
    if source.pixel_spacing_mm:
        row, column = source.pixel_spacing_mm
        metadata |= {"PhysicalSizeX": column, "PhysicalSizeXUnit": "mm"}
        metadata |= {"PhysicalSizeY": row, "PhysicalSizeYUnit": "mm"}
    return {"metadata": metadata}


def find_tiff(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of a TIFF's first series, whatever its dialect. The file stays open in `keep`."""
    file = keep.enter_context(tifffile.TiffFile(path))
    series = file.series[0]
    check_sizes([size for size in series.shape if size > 1], series.shape[-2:], shape)
    # whether this program wrote into the file that its values are classes
    are_classes = CLASSES in (file.imagej_metadata or {}) or CLASSES in (file.ome_metadata or "")
    if series.dataoffset is None:  # compressed: a page a frame
        pages: Any = series.pages
        return Found(range(shape[0]), lambda i: np.squeeze(pages[i].asarray()), are_classes=are_classes)
    dtype = series.dtype.newbyteorder(file.byteorder)
    pixels = np.memmap(path, dtype, "r", offset=series.dataoffset, shape=shape)
    return Found(range(shape[0]), lambda i: pixels[i], are_classes=are_classes)


def check_sizes(sizes: list[int], size: Any, shape: tuple[int, int, int]) -> None:
    """Make sure of height and width, and that the rest are the frames."""
    if tuple(size) != shape[1:]:
        raise wrong_size(tuple(size), shape[1:])
    rest = int(np.prod(sizes)) // int(np.prod([length for length in shape[1:] if length > 1]))
    if rest != shape[0]:
        raise wrong_count(rest, shape[0])
