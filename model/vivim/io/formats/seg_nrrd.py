"""NRRD of labels and 3D Slicer's segmentations (``.seg.nrrd``): columns, rows, frames, with layers before them."""

import gzip
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.io.formats.annotated_shapes import classes_of, placed
from vivim.io.formats.nifti import header_of, time_axis
from vivim.io.import_source import Found, ReadOptions, wrong_count, wrong_size

OLD_AND_NEW = ("Master", "Source")
"""How versions of Slicer name the kind of representation that a segmentation was made in."""
MOST_HEADER = 2**22
"""A longer header is none."""
MOST_FRAME = 2**30
"""Bytes of one frame with all its layers."""
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
}
"""Whole numbers, as NRRD names them."""
LAYERS = ("list", "vector", "none", "???")
"""What NRRD calls an axis that is none of space."""
RIGHT_HANDED = {"L": -1, "R": 1, "P": -1, "A": 1, "I": -1, "S": 1}
"""Which way an axis of space runs, measured in NIfTI's: right, anterior, superior."""
REFERENCE = re.compile(r"Reference image geometry\|([-+.\deE;]*)")
"""Where Slicer keeps the matrix of the picture that was segmented, and the first and last place of each axis."""


def find_nrrd(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of the frames that hold a segment; the others only if `options` asks. Segments have the classes 1, 2, ...

    Over a NIfTI video they lie as both affines say, over another one at the place in the reference image that Slicer
    notes. Of segments that overlap, the later one is above. The file stays open in `keep`.

    Raises
    ------
    MasksError
        If pynrrd is missing, it does not fit a video of `shape`, or it lies elsewhere.
    """
    try:
        import nrrd
    except ImportError as error:
        raise MasksError("NRRD is read with pynrrd: pip install 'napari-vivim[all]' (or pynrrd).") from error
    file = keep.enter_context(path.open("rb"))
    head = file.read(MOST_HEADER)
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None or not head.startswith(b"NRRD"):
        raise MasksError(f"{path.name} is no NRRD, or damaged. Export the segmentation anew.")
    header = nrrd.read_header(head[: end.start()].decode("utf-8").split("\n"))
    if any("fractional" in str(header.get(f"Segmentation_{key}Representation")).lower() for key in OLD_AND_NEW):
        raise MasksError(f"{path.name} holds fractions instead of labels. Convert it to a binary labelmap.")
    sizes = [int(size) for size in header["sizes"]]
    layers = sizes.pop(0) if len(sizes) == 4 and header.get("kinds", ["list"])[0] in LAYERS else 1
    if not 2 <= len(sizes) <= 3 or min(layers, *sizes) < 1 or layers * sizes[0] * sizes[1] > MOST_FRAME:
        raise MasksError(f"{path.name} is no stack of pictures. Export columns, rows and frames.")
    grid = _grid(header, (*sizes, 1)[:3], shape, options.video_path)
    pixels = _Pixels(file, end.end(), header, layers, grid.sizes)
    segments, names = _segments(header, layers)
    places = [k for k in range(grid.sizes[2]) if options.include_empty or pixels.read(k).any()]
    if not places:
        raise MasksError(f"Nothing is drawn in {path.name}. Frames without a lesion come in with --include-empty.")

    def read(i: int) -> NDArray:
        stored = pixels.read(places[i])
        labels = stored[0] if not segments else _labels(stored, segments)
        return grid.on_video(labels, shape[1:])

    return Found([grid.frame(k) for k in places], read, classes=names, are_classes=bool(segments))


class _Pixels:
    """Frames of a file, read one at a time. Small files that unpack to gigabytes are read no further than they say."""

    def __init__(
        self, file: BinaryIO, start: int, header: Mapping[str, Any], layers: int, sizes: Sequence[int]
    ) -> None:
        kind = next((code for code, names in TYPES.items() if header.get("type") in names), None)
        packed = header.get("encoding") in ("gzip", "gz")
        apart = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & header.keys()
        if kind is None or apart or not (packed or header.get("encoding") == "raw"):
            raise MasksError("The NRRD is of another kind than 3D Slicer writes. Save it there as .seg.nrrd.")
        self._dtype = np.dtype(kind).newbyteorder(">" if header.get("endian") == "big" else "<")
        self._file, self._packed = file, packed
        self._start, self._stream, self._at = start, file, 0
        self._shape = (layers, *sizes[:2])
        self._length = int(np.prod(self._shape)) * self._dtype.itemsize
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._at = 0
        if self._packed:
            self._stream = gzip.GzipFile(fileobj=self._file)  # type: ignore[assignment]

    def read(self, k: int) -> NDArray:
        """Values ``(L, H, W)`` of place `k`."""
        if k < self._at:
            self._rewind()
        while self._at <= k:
            data = self._stream.read(self._length)
            self._at += 1
        if len(data) < self._length:
            raise MasksError("The NRRD ends before its last frame. Export the segmentation anew.")
        return np.frombuffer(data, self._dtype).reshape(self._shape, order="F").transpose(0, 2, 1)


def _segments(header: Mapping[str, Any], layers: int) -> tuple[list[tuple[int, int, int]], tuple[str, ...] | None]:
    """Layer, value and class of each segment, and the names; nothing where a file lists none."""
    numbers = sorted(int(m[1]) for key in header if (m := re.fullmatch(r"Segment(\d+)_(?:ID|Name|LabelValue)", key)))
    listed: dict[int, str] = {}
    for n in dict.fromkeys(numbers):
        name = header.get(f"Segment{n}_Name") or header.get(f"Segment{n}_ID") or f"Segment {n}"
        listed[n] = str(name).strip()
    if not listed:
        if layers > 1:
            raise MasksError("The NRRD has several layers, and nothing says what they are. Save it as .seg.nrrd.")
        return [], None
    classes, names = classes_of(listed.values(), list(listed.values()))
    segments = []
    for place, (n, name) in enumerate(listed.items()):  # before 4.11 Slicer wrote a layer for each, of value 1
        layer = int(header.get(f"Segment{n}_Layer", place if layers == len(listed) else 0))
        segments.append((layer, int(header.get(f"Segment{n}_LabelValue", 1)), classes[name]))
    if len({segment[:2] for segment in segments}) < len(segments) or max(s[0] for s in segments) >= layers:
        raise MasksError("The segments of the NRRD share a value, or a layer is missing. Save it in 3D Slicer anew.")
    return segments, names


def _labels(stored: NDArray, segments: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Classes ``(H, W)`` of one frame."""
    labels, known = np.zeros(stored.shape[1:], np.uint8), stored == 0
    for layer, value, number in segments:
        inside = stored[layer] == value
        labels[inside] = number
        known[layer] |= inside
    if not known.all():
        raise MasksError(f"The NRRD holds the value {stored[~known][0]}, which none of its segments has.")
    return labels


@dataclass(frozen=True)
class _Grid:
    """Where stored pixels lie on a video: how its columns, rows and frames run, and from where.

    Rows and columns are swapped first.
    """

    sizes: tuple[int, int, int]
    signs: tuple[int, int, int] = (1, 1, 1)
    offset: tuple[int, int, int] = (0, 0, 0)
    swapped: bool = False

    def frame(self, k: int) -> int:
        """Frame of a stored place."""
        return self.offset[2] + self.signs[2] * k

    def on_video(self, labels: NDArray, size: tuple[int, int]) -> NDArray:
        """A frame's labels ``(H, W)`` laid on the video's.

        Raises
        ------
        MasksError
            If some lie outside.
        """
        turned = (labels.T if self.swapped else labels)[:: self.signs[1], :: self.signs[0]]
        height, width = turned.shape
        left = self.offset[0] - (width - 1 if self.signs[0] < 0 else 0)
        top = self.offset[1] - (height - 1 if self.signs[1] < 0 else 0)
        laid = placed(turned, left, top, size)
        if np.count_nonzero(laid) < np.count_nonzero(labels):
            raise elsewhere()
        return laid


def elsewhere() -> MasksError:
    """Say that masks lie outside the video."""
    return MasksError("The segmentation lies elsewhere in space than the video. Save it on the video's own grid.")


def _grid(
    header: Mapping[str, Any], sizes: tuple[int, int, int], shape: tuple[int, int, int], video_path: Path | None
) -> _Grid:
    """Where the stored pixels lie: by the affines, or by what Slicer notes of the picture that was segmented."""
    video: Any = header_of(video_path)
    affine = _affine(header)
    placed_video = video is not None and (int(video["sform_code"]) or int(video["qform_code"]))
    if placed_video and affine is not None and time_axis(video.get_data_shape()) in (2, None):
        change = np.linalg.inv(video.get_best_affine()) @ affine
        whole = np.rint(change).astype(int)
        corners = np.array([[x, y, z, 1] for x in (0, sizes[0]) for y in (0, sizes[1]) for z in (0, sizes[2])])
        axes = np.abs(whole[:3, :3])
        if not np.abs((change - whole) @ corners.T).max() < 0.25 or not (axes.sum(0) == 1).all() or axes[2, 2] != 1:
            raise elsewhere()
        signs, offset = whole[:3, :3].sum(axis=1).tolist(), whole[:3, 3].tolist()
        ends = sorted((offset[2], offset[2] + signs[2] * (sizes[2] - 1)))
        if ends[0] < 0 or ends[1] >= shape[0]:
            raise elsewhere()
        return _Grid(sizes, tuple(signs), tuple(offset), bool(axes[0, 1]))
    whole_sizes, offset = sizes, [0, 0, 0]
    reference = REFERENCE.search(str(header.get("Segmentation_ConversionParameters", "")))
    if reference is not None and "Segmentation_ReferenceImageExtentOffset" in header:
        ends = [int(float(number)) for number in reference[1].strip(";").split(";")[-6:]]
        whole_sizes = tuple(last - first + 1 for first, last in zip(ends[::2], ends[1::2], strict=True))
        offset = [int(n) for n in header["Segmentation_ReferenceImageExtentOffset"].split()]
    if whole_sizes[:2] != shape[:0:-1]:
        raise wrong_size(whole_sizes[1::-1], shape[1:])
    if whole_sizes[2] != shape[0] or offset[2] < 0 or offset[2] + sizes[2] > shape[0]:
        raise wrong_count(whole_sizes[2], shape[0])
    return _Grid(sizes, offset=tuple(offset))


def _affine(header: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """From columns, rows and frames to millimetres right, anterior and superior; None if the file does not say."""
    space, directions, origin = (header.get(key) for key in ("space", "space directions", "space origin"))
    if space is None or directions is None or origin is None:
        return None
    words = space.split("-") if "-" in space else list(space)
    signs = [RIGHT_HANDED.get(word[:1].upper(), 0) for word in words]
    rows = np.array([row for row in np.asarray(directions, float) if np.isfinite(row).all()])
    if len(signs) != 3 or 0 in signs or rows.shape != (3, 3):
        return None
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rows.T, origin
    return np.diag([*signs, 1]) @ affine
