"""Masks as NIfTI: x, y, one slice and time, with the size of a pixel and the time step."""

import gzip
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import nibabel
import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from vivim.errors import MasksError
from vivim.io.formats.tiff import check_sizes
from vivim.io.import_source import Found, ReadOptions
from vivim.io.mask_source import Work
from vivim.video.readers.nifti import check_start

NIFTI1_MOST = 32767
"""Longest axis that NIfTI-1 can say; beyond it the file is NIfTI-2."""
SCANNER = 1
"""Code of coordinates that begin at the picture's first pixel, as other writers of 2-D series use it."""


def write_nifti(work: Work, path: Path) -> Generator[int, None, None]:
    """Write uint8 labels as they are, compressed if the name ends in ``.gz``.

    Masks of a NIfTI video have its axes and its place in space. Others are ``(W, H, 1, T)``: columns run to the
    patient's left and rows down, as DICOM has it, and time is the fourth axis, because NIfTI reserves that for it.
    """
    header = _header(work)
    with path.open("wb") as plain, _packed(plain, path.suffix == ".gz") as file:
        header.write_to(file)
        for done, t in enumerate(work.frames, start=1):
            file.write(np.ascontiguousarray(work.mask(t)).data)
            yield done


def _packed(plain: BinaryIO, packed: bool) -> AbstractContextManager[Any]:
    """Compress while writing, without the name of the temporary file or the time."""
    if not packed:
        return nullcontext(plain)
    return gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=plain, mtime=0)


def _header(work: Work) -> nibabel.Nifti1Header:
    """That of the video, where it is NIfTI, so that any viewer lays the masks over it; else one of our own."""
    step = 1.0 / work.source.fps if work.source.fps else 1.0
    source = header_of(work.source.video_path)
    if source is not None:
        header = source.copy()
        header.extensions.clear()  # they and the texts may name the patient
        for name in {"descrip", "aux_file", "db_name", "intent_name"}.intersection(header.keys()):
            header[name] = b""
        header["vox_offset"] = 0  # where pixels begin without extensions is written with the header
        time = time_axis(header.get_data_shape())
        shape = list(header.get_data_shape())
        if time is not None:
            shape[time] = len(work.frames)
        header.set_data_shape(shape)
        header["scl_slope"], header["scl_inter"], header["cal_min"], header["cal_max"] = 1, 0, 0, 0
        if time == 2 and work.frames[0]:  # there the third axis of space is time
            affine = header.get_best_affine()
            affine[:3, 3] += affine[:3, 2] * work.frames[0]
            header.set_qform(affine, int(header["qform_code"]))
            header.set_sform(affine, int(header["sform_code"]))
    else:
        (height, width) = work.size
        shape = [width, height, 1, len(work.frames)]
        header = nibabel.Nifti1Header() if max(shape) <= NIFTI1_MOST else nibabel.Nifti2Header()
        row, column = work.source.pixel_spacing_mm or (1.0, 1.0)
        header.set_data_shape(shape)
        affine = np.diag([-column, -row, 1.0, 1.0])
        header.set_qform(affine, SCANNER)
        header.set_sform(affine, SCANNER)
        header.set_zooms((column, row, 1.0, step))
        header.set_xyzt_units(
            "mm" if work.source.pixel_spacing_mm else "unknown", "sec" if work.source.fps else "unknown"
        )
    header.set_data_dtype(np.uint8)
    header["toffset"] = float(header["toffset"]) + work.frames[0] * step
    header.set_intent("label")
    return header


def header_of(path: Path | None) -> Any:
    """The header of a video, None if it is no NIfTI or not there."""
    if path is None or not path.is_file() or not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    check_start(path)
    image: Any = nibabel.load(path)
    return image.header


def time_axis(sizes: Sequence[int]) -> int | None:
    """The axis behind columns and rows that is longer than one."""
    return max((axis for axis, size in enumerate(sizes) if axis > 1 and size > 1), default=None)


def find_nifti(path: Path, shape: tuple[int, int, int], keep: ExitStack, options: ReadOptions) -> Found:
    """Masks of a NIfTI file of columns, rows and time, turned to lie on the video, see `_turned`."""
    check_start(path)
    image: Any = nibabel.load(path, keep_file_open=True)
    keep.callback(image.uncache)
    sizes = image.shape
    turned = _turned(image, header_of(options.video_path))
    plane = (*sizes, 1, 1)[:2]
    check_sizes([size for size in sizes if size > 1], plane if turned.swapped else plane[::-1], shape)
    time = time_axis(sizes)

    def read(i: int) -> NDArray:
        key: list[Any] = [slice(None), slice(None), *[0] * (len(sizes) - 2)]
        if time is not None:
            key[time] = shape[0] - 1 - i if turned.backwards and time == 2 else i
        plane = np.asarray(image.dataobj[tuple(key)])
        plane = plane.T if turned.swapped else plane
        return plane[:: turned.columns, :: turned.rows].T

    labels = image.header.get_intent()[0] == "label"
    return Found(range(shape[0]), read, are_classes=labels)


class Turned(NamedTuple):
    """How stored pixels are laid on the video: first swapped, then columns and rows in steps of 1 or -1."""

    swapped: bool = False
    columns: int = 1
    rows: int = 1
    backwards: bool = False


def _turned(image: Any, video: Any) -> Turned:
    """How the pixels of a mask come to lie on a video.

    Over a video that is NIfTI, the two affines say so. Over another one, a file that was turned from this program's own
    export is turned back: its first pixel then lies at the origin again. Else it stays as it is stored.
    """
    affine, header = image.affine, image.header
    placed = int(header["sform_code"]) or int(header["qform_code"])
    if not placed or np.array_equal(affine, np.eye(4)):
        return Turned()  # nobody said where it lies
    if video is None:
        target = np.diag([-1.0, -1.0, 1.0, 1.0])
    elif int(video["sform_code"]) or int(video["qform_code"]):
        target = video.get_best_affine()
    else:
        return Turned()
    change = ornt_transform(io_orientation(affine), io_orientation(target))
    shape = (*image.shape, 1, 1)[:3]
    on_video = affine @ inv_ornt_aff(change, shape)
    if video is None:
        if not np.allclose(on_video[:2, 3], 0, atol=1e-3):
            return Turned()
    elif change[2, 0] != 2 or not _same_grid(on_video, target, shape):
        raise MasksError(
            "The masks lie elsewhere in space than the video. Export them on the video's own grid, without resampling."
        )
    (first, columns), (_, rows), (_, slices) = change.tolist()
    if first == 1:  # columns of the mask are rows of the video
        columns, rows = rows, columns
    return Turned(first == 1, int(columns), int(rows), slices < 0)


def _same_grid(one: NDArray, other: NDArray, shape: Sequence[int]) -> bool:
    """Whether two affines agree to a quarter of a pixel at the corners of the first picture."""
    corners = np.array([[x, y, 0, 1] for x in (0, max(shape[:2])) for y in (0, max(shape[:2]))], float).T
    pixel = np.linalg.norm(other[:3, :2], axis=0).min()
    return bool(np.abs((one - other) @ corners).max() < pixel / 4)
