"""Segmentations of 3D Slicer (``.seg.nrrd``): columns, rows and frames of labels, with a list of layers before them."""

import gzip
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.io.formats.nifti import header_of, time_axis
from vivim.io.formats.shapes import Shape, classes_of, found_shapes
from vivim.io.import_source import Found, ReadOptions, wrong_count, wrong_size

MOST_HEADER, MOST_FRAME = 2**22, 2**30
"""Bytes of the header, and of one frame with all its layers."""
TYPES = {"signed char": "i1", "unsigned char": "u1", "short": "i2", "unsigned short": "u2", "int": "i4"} | {
    f"{kind}{8 * size}{end}": f"{kind[0]}{size}"
    for kind in ("int", "uint")
    for size in (1, 2, 4)
    for end in ("", "_t")
}
"""Whole numbers, as NRRD names them."""
RIGHT_HANDED = {"L": -1, "R": 1, "P": -1, "A": 1, "I": -1, "S": 1}
"""Which way an axis of space runs, measured in NIfTI's: right, anterior, superior."""
REFERENCE = re.compile(r"Reference image geometry\|([-+.\deE;]*)")
"""Where Slicer keeps the matrix of the picture that was segmented, and the first and last place of each axis."""


def find_nrrd(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of the frames that hold a segment; the others only if `options` asks. Segments are the classes 1, 2, ...

    Over a NIfTI video they lie as both affines say, over another one at the place in the reference image that Slicer
    notes. Of segments that overlap, the later one is above.
    """
    try:
        import nrrd
    except ImportError as error:
        raise MasksError("NRRD is read with pynrrd: pip install 'napari-vivim[all]' (or pynrrd).") from error
    with path.open("rb") as file:
        head = file.read(MOST_HEADER)
        end = re.search(rb"\r?\n\r?\n", head)
        if end is None or not head.startswith(b"NRRD"):
            raise MasksError(f"{path.name} is no NRRD, or damaged. Export the segmentation anew.")
        header = nrrd.read_header(head[: end.start()].decode("utf-8").split("\n"))
        sizes = [int(size) for size in header["sizes"]]
        layers, columns, rows, frames = sizes if len(sizes) == 4 else (1, *sizes)
        if min(sizes) < 1 or layers * columns * rows > MOST_FRAME:
            raise MasksError(f"{path.name} is no stack of pictures. Export columns, rows and frames.")
        to_video = _to_video(header, (columns, rows, frames), shape, options.video_path)
        segments = _segments(header, layers)
        drawn: dict[int, list[Shape]] = {}
        file.seek(end.end())
        for k, pixels in enumerate(_frames(file, header, (layers, columns, rows), frames)):
            known = pixels == 0
            shapes = drawn.setdefault(int(to_video[2, 2] * k + to_video[2, 3]), [])
            for layer, value, name in segments:
                inside = pixels[layer] == value
                known[layer] |= inside
                if inside.any():
                    places = to_video[:2, :2] @ np.nonzero(inside) + to_video[:2, 3:]
                    if places.min() < 0 or (places >= [[shape[2]], [shape[1]]]).any():
                        raise elsewhere()
                    shapes.append(Shape(name, partial(_scatter, places.astype(np.int32), shape[1:])))
            if not known.all():
                raise MasksError(
                    f"The NRRD holds the value {pixels[~known][0]}, which none of its segments has."
                )
    classes, names = classes_of([], [name for _, _, name in segments])
    return found_shapes(drawn, classes, names, shape, options)


def _scatter(places: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[places[1], places[0]] = True
    return mask


def elsewhere() -> MasksError:
    """Say that masks lie outside the video."""
    return MasksError(
        "The segmentation lies elsewhere in space than the video. Save it on the video's own grid."
    )


def _frames(
    file: BinaryIO, header: Mapping[str, Any], shape: tuple[int, int, int], frames: int
) -> Iterator[NDArray]:
    """Values ``(L, W, H)`` of each frame. A file that unpacks to gigabytes is read no further than it says."""
    apart = {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & header.keys()
    encoding, kind = header.get("encoding"), TYPES.get(header.get("type", ""))
    if kind is None or apart or encoding not in ("raw", "gzip", "gz"):
        raise MasksError("The NRRD is of another kind than 3D Slicer writes. Save it there as .seg.nrrd.")
    dtype = np.dtype(kind).newbyteorder(">" if header.get("endian") == "big" else "<")
    stream: Any = file if encoding == "raw" else gzip.GzipFile(fileobj=file)
    length = int(np.prod(shape)) * dtype.itemsize
    for _ in range(frames):
        data = stream.read(length)
        if len(data) < length:
            raise MasksError("The NRRD ends before its last frame. Export the segmentation anew.")
        yield np.frombuffer(data, dtype).reshape(shape, order="F")


def _segments(header: Mapping[str, Any], layers: int) -> list[tuple[int, int, str]]:
    """Layer, value and name of each segment."""
    kinds = [
        str(header.get(f"Segmentation_{key}Representation")) for key in ("Master", "Source")
    ]  # old and new
    if any("fractional" in kind.lower() for kind in kinds):
        raise MasksError("The NRRD holds fractions instead of labels. Convert it to a binary labelmap.")
    numbers = {
        int(found[1]) for key in header if (found := re.fullmatch(r"Segment(\d+)_(?:ID|LabelValue)", key))
    }
    segments = []
    for place, n in enumerate(sorted(numbers)):  # before 4.11 Slicer wrote a layer for each, of value 1
        layer = int(header.get(f"Segment{n}_Layer", place if layers == len(numbers) else 0))
        name = header.get(f"Segment{n}_Name") or header.get(f"Segment{n}_ID") or f"Segment {n}"
        segments.append((layer, int(header.get(f"Segment{n}_LabelValue", 1)), str(name).strip()))
    if not segments:
        raise MasksError("The NRRD lists no segments. Save it in 3D Slicer as a segmentation (.seg.nrrd).")
    if len({segment[:2] for segment in segments}) < len(segments) or max(s[0] for s in segments) >= layers:
        raise MasksError(
            "The segments of the NRRD share a value, or a layer is missing. Save it in 3D Slicer anew."
        )
    return segments


def _to_video(
    header: Mapping[str, Any],
    sizes: tuple[int, int, int],
    shape: tuple[int, int, int],
    video_path: Path | None,
) -> NDArray[np.int64]:
    """Matrix ``(4, 4)`` from stored columns, rows and frames to those of the video."""
    video: Any = header_of(video_path)
    affine = _affine(header)
    placed_video = video is not None and (int(video["sform_code"]) or int(video["qform_code"]))
    if placed_video and affine is not None and time_axis(video.get_data_shape()) in (2, None):
        change = np.linalg.inv(video.get_best_affine()) @ affine
        far = np.array([[x, y, z, 1] for x in (0, sizes[0]) for y in (0, sizes[1]) for z in (0, sizes[2])])
        whole = np.rint(change)
        axes = np.abs(whole[:3, :3])
        if (
            not np.abs((change - whole) @ far.T).max() < 0.25
            or not (axes.sum(0) == 1).all()
            or axes[2, 2] != 1
        ):
            raise elsewhere()
        return whole.astype(np.int64)
    whole_sizes, matrix = sizes, np.eye(4, dtype=np.int64)
    reference = REFERENCE.search(str(header.get("Segmentation_ConversionParameters", "")))
    if reference is not None and "Segmentation_ReferenceImageExtentOffset" in header:
        ends = [int(float(number)) for number in reference[1].strip(";").split(";")[-6:]]
        whole_sizes = (ends[1] - ends[0] + 1, ends[3] - ends[2] + 1, ends[5] - ends[4] + 1)
        matrix[:3, 3] = [int(number) for number in header["Segmentation_ReferenceImageExtentOffset"].split()]
    if whole_sizes[:2] != shape[:0:-1]:
        raise wrong_size(whole_sizes[1::-1], shape[1:])
    if whole_sizes[2] != shape[0]:
        raise wrong_count(whole_sizes[2], shape[0])
    return matrix


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
