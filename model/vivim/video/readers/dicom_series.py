"""A folder of DICOM files as one video: a series of single pictures, or the one cine that lies in it."""

from pathlib import Path

from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from vivim.errors import VideoError
from vivim.video.base import Video
from vivim.video.readers.dicom import DicomPictures, open_dicom
from vivim.video.readers.dicom_header import facts_of, read_header
from vivim.video.readers.image_folder import dicoms_in

TAGS = ["SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns"]
"""All that is read of each file to put them in order."""


def open_series(folder: Path) -> Video:
    """Open the series, or the one cine, of a folder.

    Raises `VideoError` if there are several of them, or a file is damaged.
    """
    files = dicoms_in(folder)
    heads = [_head(file) for file in files]
    pictures = [(head, file) for head, file in zip(heads, files, strict=True) if head.get("Rows")]
    seen: dict[str, tuple[Dataset, Path]] = {}
    for head, file in pictures:
        seen.setdefault(str(head.get("SOPInstanceUID") or file), (head, file))
    copies, pictures = len(pictures) - len(seen), list(seen.values())
    cines = [file for head, file in pictures if _whole(head, "NumberOfFrames") > 1]
    if len(cines) == 1 == len(pictures):
        return open_dicom(cines[0])
    if cines:
        raise VideoError(
            f"{folder.name} holds several videos ({', '.join(file.name for file in cines[:5])} ...). Open one of them."
        )
    if not pictures:
        raise VideoError(f"The DICOM files of {folder.name} have no pictures. Choose another folder.")
    if len({str(head.get("SeriesInstanceUID")) for head, _ in pictures}) > 1:
        raise VideoError(
            f"{folder.name} holds pictures of more than one series. Put each series into a folder of its own."
        )
    pictures.sort(key=lambda found: _whole(found[0], "InstanceNumber"))
    notes = [f"Files of {folder.name} that are copies of others are left out: {copies}."] if copies else []
    return DicomSeries(folder, [file for _, file in pictures], notes)


def _head(file: Path) -> Dataset:
    try:
        return dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
    except Exception as error:  # whatever damaged headers make pydicom raise, with their values in its words
        raise VideoError(
            f"{file.name} cannot be read as DICOM ({type(error).__name__}). Export it anew, or move it away."
        ) from None


def _whole(head: Dataset, name: str) -> int:
    try:
        return int(head.get(name) or 0)
    except (TypeError, ValueError):
        return 0


class DicomSeries(Video):
    """Files of one picture each, in the order of their instance numbers."""

    def __init__(self, folder: Path, files: list[Path], notes: list[str]) -> None:
        dataset = read_header(files[0])
        first = DicomPictures(files[0], dataset).read(0)
        facts = facts_of(dataset, len(files), files[0].name)
        self.regions = facts.regions
        shape = (len(files), *first.shape)
        super().__init__(folder, shape, first.dtype, files=files, **facts.of_video())
        self.notes += tuple(notes)
        self._cache.put(0, first)

    def _decode(self, i: int) -> NDArray:
        file = self._files[i]
        picture = DicomPictures(file, read_header(file)).read(0)
        if picture.shape != self.shape[1:] or picture.dtype != self.dtype:
            raise VideoError(
                f"{file.name} is of another size or depth than {self._files[0].name}. Put it into a folder of its own."
            )
        return picture
