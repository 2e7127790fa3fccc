"""What a DICOM header says about geometry and time. Nothing about the patient is looked at.

All of it is optional in practice: what is missing or makes no sense counts as unknown.
"""

import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from vivim.errors import VideoError
from vivim.video.base import check_size, plausible_aspect
from vivim.video.readers.dicom_repair import (
    PIXEL_DATA,
    native_frames,
    put_whole_frames,
    read_whole_frames,
    unended_pixels,
)

CENTIMETRES = 3
"""Code of centimetres in Physical Units X/Y Direction (DICOM PS3.3 C.8.5.5.1.15)."""

SAME = 1e-3
"""Sizes of a pixel that differ by less, relatively, are one."""

TISSUE = 1
"""Code of 2-D tissue (B-mode) in Region Data Type (DICOM PS3.3 C.8.5.5.1.2)."""

KINDS = {1: "tissue", 2: "colour flow", 3: "PW spectral Doppler", 4: "CW spectral Doppler", 10: "ECG trace"}
"""Names of the values of Region Data Type that occur in cines."""

DEFERRED = "64 KB"
"""Elements larger than this, the pixels above all, stay in the file."""

INFLATED_BYTES = 512 * 2**20
"""The most a deflated file may unpack to; it has to be in memory whole."""

MPEG = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes whose pixel data are one MPEG-2, H.264 or HEVC stream (some with a further ``.1``)."""

MAX_FRAMES = 10**6
"""More frames than this, about nine hours, are a damaged header."""


@dataclass(frozen=True)
class Region:
    """A calibrated part of an ultrasound picture."""

    kind: str
    """What it shows: ``"tissue"`` (B-mode), ``"colour flow"``, ``"PW spectral Doppler"`` ..."""
    box: tuple[int, int, int, int]
    """``(y0, x0, y1, x1)`` in pixels; `y1` and `x1` are not part of it."""
    spacing_mm: tuple[float, float] | None
    """Height and width of a pixel, where both axes are lengths."""


def read_header(path: Path) -> Dataset:
    """The header of a DICOM file, checked for sense. Large elements stay in the file, unless it is deflated.

    Where the file ends within its pixels, the number of frames is that of the whole ones. Coded ones are then in
    memory, except for streams. Errors name no value of the header.
    """
    try:
        deflated = _is_deflated(path)
        dataset = None if deflated else _without_end(path)
        if dataset is None:
            with path.open("rb") as file:
                dataset = read_partial(file, _is_behind_pixels, None if deflated else DEFERRED)
            if not deflated and "PixelData" in dataset:
                _keep_whole(path, dataset)
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    except VideoError:
        raise
    except InvalidDicomError:
        raise VideoError(
            f"{path.name} is no DICOM file, or its beginning is damaged. Export it anew."
        ) from None
    except Exception as error:  # whatever damaged headers make pydicom raise, with their values in its words
        raise VideoError(
            f"{path.name} cannot be read as DICOM ({type(error).__name__}). Export it anew."
        ) from None
    if "PixelData" not in dataset:
        if hasattr(dataset, "frames_stated"):
            raise VideoError(f"{path.name} ends before its first picture does. Copy or export it anew.")
        raise VideoError(
            f"{path.name} is DICOM without pictures of whole numbers. Choose an image or cine object."
        )
    if not 1 <= count <= MAX_FRAMES:
        raise VideoError(f"{path.name} says it has {count} frames, which cannot be. Export it anew.")
    check_size(rows, columns, path.name)
    return dataset


def _keep_whole(path: Path, dataset: Dataset) -> None:
    """Count only frames that are whole, if the file ends within pixels that are not coded."""
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    there = native_frames(path, dataset, count)
    if 0 < there < count:
        dataset.frames_stated, dataset.NumberOfFrames = count, there


def _without_end(path: Path) -> Dataset | None:
    """The header of a file whose coded pixels do not end, with its whole frames in memory. None of any other."""
    found = unended_pixels(path)
    if found is None:
        return None
    dataset, start = found
    dataset.items_start = start
    dataset.frames_stated = count = int(dataset.get("NumberOfFrames", 1) or 1)
    if str(dataset.file_meta.get("TransferSyntaxUID", "")).startswith(MPEG):
        dataset.add_new(PIXEL_DATA, "OB", b"")
    elif path.stat().st_size > INFLATED_BYTES:
        raise VideoError(
            f"{path.name} ends too early and takes more than {INFLATED_BYTES >> 20} MB of memory. Copy it anew."
        )
    elif frames := read_whole_frames(path, start, count):
        put_whole_frames(dataset, frames)
    return dataset


def is_in_memory(dataset: Dataset) -> bool:
    """Whether the pixels of a header that was read are in memory, not in the file."""
    deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    return deflated or hasattr(dataset, "items_start")


def _is_behind_pixels(tag: int, vr: str | None, length: int) -> bool:
    """Whether an element comes after the pixels. A tail of zeros could be read for hours as empty elements."""
    return tag == 0 or tag > PIXEL_DATA


def _is_deflated(path: Path) -> bool:
    """Whether the whole file is packed. One that takes more than `INFLATED_BYTES`, unpacked, is refused."""
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return False
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), path.stat().st_size  # both are in memory at once
    with path.open("rb") as file:
        file.seek(144 + int(meta.FileMetaInformationGroupLength))  # preamble, mark, and the length itself
        waiting = file.read(2**16)
        while waiting and not inflate.eof and size <= INFLATED_BYTES:
            size += len(inflate.decompress(waiting, 2**20))
            waiting = inflate.unconsumed_tail or file.read(2**16)
    if size > INFLATED_BYTES:
        raise VideoError(
            f"{path.name} is deflated and takes more than {INFLATED_BYTES >> 20} MB of memory. "
            "Export it anew, not deflated."
        )
    return True


@dataclass(frozen=True)
class Facts:
    """Time and geometry of a file."""

    starts: list[float] | None
    """When each frame is shown, in seconds from the first."""
    fps: float | None
    """Frames per second, on average."""
    spacing_mm: tuple[float, float] | None
    """Height and width of a pixel; None where regions of different scale share the picture."""
    regions: tuple[Region, ...]
    """Calibrated parts of the picture, B-mode first."""
    pixel_aspect: float | None = None
    """Width by height of a pixel, where that is all that is stated."""
    notes: tuple[str, ...] = ()
    """What a person should know about the file."""

    def of_video(self) -> dict[str, Any]:
        """What `vivim.video.base.Video` is told of it."""
        return {
            "fps": self.fps,
            "pixel_spacing_mm": self.spacing_mm,
            "pixel_aspect": self.pixel_aspect or 1.0,
            "notes": self.notes,
        }


def facts_of(dataset: Dataset, count: int, name: str) -> Facts:
    """Time and geometry of a file of `count` frames."""
    try:
        starts, fps = _timing(dataset, count)
        return Facts(starts, fps, spacing(dataset), regions(dataset), _aspect(dataset), _notes(dataset, name))
    except Exception as error:  # whatever damaged headers make pydicom raise, with their values in its words
        raise VideoError(
            f"The times or sizes that {name} states are damaged ({type(error).__name__}). Export it anew."
        ) from None


def _notes(dataset: Dataset, name: str) -> tuple[str, ...]:
    stated, count = getattr(dataset, "frames_stated", None), int(dataset.get("NumberOfFrames", 1) or 1)
    if stated is None:
        return ()
    there = f": {count} of its {stated} frames are there" if count < stated else ""
    return (f"{name} ends too early{there}. Copy or export it anew if you can.",)


def _aspect(dataset: Dataset) -> float | None:
    """Width by height of a pixel: Pixel Aspect Ratio names the height first (DICOM PS3.3 C.7.6.3.1.7)."""
    sizes = [float(v) for v in _values(dataset, "PixelAspectRatio")]
    return plausible_aspect(sizes[1] / sizes[0]) if len(sizes) == 2 and min(sizes) > 0 else None


def _timing(dataset: Dataset, count: int) -> tuple[list[float] | None, float | None]:
    """When frames are shown, and the rate.

    From Frame Time Vector (increments in ms, the first of no meaning, which some leave out), Frame Time (ms), Cine Rate
    or Recommended Display Frame Rate, in this order (DICOM PS3.3 C.7.6.5).
    """
    vector = [float(v) / 1000 for v in _values(dataset, "FrameTimeVector")]
    steps = vector if len(vector) == count - 1 else vector[1:count]
    if len(steps) == count - 1 > 0 and min(steps) >= 0 and sum(steps) > 0:
        return [0.0, *itertools.accumulate(steps)], len(steps) / sum(steps)
    frame_time = _number(dataset, "FrameTime")
    rates = [1000 / frame_time if frame_time else 0.0]
    rates += [_number(dataset, name) for name in ("CineRate", "RecommendedDisplayFrameRate")]
    rate = next((rate for rate in rates if rate), None)
    return ([i / rate for i in range(count)], rate) if rate else (None, None)


def regions(dataset: Dataset) -> tuple[Region, ...]:
    """The ultrasound regions that lie within the picture, B-mode first (DICOM PS3.3 C.8.5.5)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    found = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or []:
        names = ("MinY0", "MinX0", "MaxY1", "MaxX1")
        corners = [item.get(f"RegionLocation{name}") for name in names]
        if None in corners:
            continue
        y0, x0, y1, x1 = (int(corner) for corner in corners)  # type: ignore[arg-type]
        box = (max(0, y0), max(0, x0), min(rows, y1 + 1), min(columns, x1 + 1))
        if box[0] < box[2] and box[1] < box[3]:
            code = int(item.get("RegionDataType") or 0)
            found.append(Region(KINDS.get(code, f"type {code}"), box, _region_spacing(item)))
    return tuple(sorted(found, key=lambda region: region.kind != KINDS[TISSUE]))


def spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Height and width of a pixel in mm: Pixel Spacing, or that of the regions in centimetres, if they agree."""
    measures = shared_group(dataset, "PixelMeasuresSequence")
    sizes = [tuple(float(v) for v in _values(item, "PixelSpacing")) for item in (dataset, measures)]
    items = dataset.get("SequenceOfUltrasoundRegions") or []
    measured = [size for size in map(_region_spacing, items) if size]
    sizes += measured[:1] if agree(measured) else []
    return next(((s[0], s[1]) for s in sizes if len(s) == 2 and min(s) > 0), None)


def agree(sizes: Sequence[tuple[float, float] | None]) -> bool:
    """Whether all sizes of a pixel are the same, within `SAME`, or none is known."""
    known = [size for size in sizes if size]
    same = all(
        math.isclose(a, b, rel_tol=SAME) for size in known for a, b in zip(known[0], size, strict=True)
    )
    return same and len(known) in (0, len(sizes))


def shared_group(dataset: Dataset, name: str) -> Dataset:
    """An item of all frames together in enhanced objects, else that of the first frame, else an empty one."""
    for place in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = dataset.get(place)
        if groups and groups[0].get(name):
            return groups[0].get(name)[0]
    return Dataset()


def _region_spacing(item: Dataset) -> tuple[float, float] | None:
    units = (item.get("PhysicalUnitsYDirection"), item.get("PhysicalUnitsXDirection"))
    deltas = [abs(float(item.get(f"PhysicalDelta{axis}") or 0)) * 10 for axis in "YX"]
    return (deltas[0], deltas[1]) if units == (CENTIMETRES, CENTIMETRES) and min(deltas) > 0 else None


def _values(dataset: Dataset, name: str) -> list[Any]:
    value = dataset.get(name)
    return [] if value is None else list(value) if hasattr(value, "__iter__") else [value]


def _number(dataset: Dataset, name: str) -> float:
    value = dataset.get(name)
    return max(0.0, float(value)) if value else 0.0
