"""DICOM as videos: multi-frame files (ultrasound and endoscopy cines), and folders of single pictures.

Frames are decoded one at a time through pydicom. Only geometry, timing and what the display needs are read from the
header; nothing about the patient is kept, and no message repeats what a header says.
"""

from pathlib import Path

from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video
from vivim.video.readers.dicom_codecs import DECODER_DEPENDENCIES
from vivim.video.readers.dicom_display import display_of
from vivim.video.readers.dicom_header import MPEG, facts_of, is_in_memory, read_header
from vivim.video.readers.image_folder import dicoms_in


def open_dicom(path: Path) -> Video:
    """Open a DICOM file, whatever its pixels are coded with."""
    dataset = read_header(path)
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    if syntax.startswith(MPEG):
        from vivim.video.readers.dicom_mpeg import EncapsulatedVideo

        return EncapsulatedVideo(path, dataset)
    return DicomVideo(path, dataset)


class DicomPictures:
    """The pictures of one DICOM file, decoded and as a viewer shows them."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self.path, self._dataset, self._here = path, dataset, is_in_memory(dataset)
        self._syntax = UID(str(getattr(dataset.file_meta, "TransferSyntaxUID", "")))
        self._check_decoder()
        try:
            self._display = display_of(dataset)
        except Exception as error:  # whatever damaged headers make pydicom raise, with their values in it
            raise VideoError(
                f"{path.name} does not say how its pictures are to be shown ({type(error).__name__}). Export it anew."
            ) from None

    def _check_decoder(self) -> None:
        if self._syntax in DECODER_DEPENDENCIES and not get_decoder(self._syntax).is_available:
            package = DECODER_DEPENDENCIES[self._syntax][0]
            raise VideoError(
                f"{self.path.name} is coded as {self._syntax.name}. Install the decoder (pip install {package}) and "
                "open it again."
            )
        try:
            get_decoder(self._syntax)
        except NotImplementedError:
            known = self._syntax.name if self._syntax.is_transfer_syntax else "an unknown way of coding"
            raise VideoError(
                f"{self.path.name} is coded in a way that is not read ({known}). Export it anew as JPEG, JPEG 2000 or "
                "uncompressed."
            ) from None

    def read(self, i: int) -> NDArray:
        """Picture `i`: ``(H, W, 3)`` uint8 or ``(H, W)`` uint8 or uint16."""
        try:
            return self._display(pixel_array(self._dataset if self._here else self.path, index=i))
        except Exception as error:  # decoders raise many kinds, with values of the header in their words
            raise FrameError(
                f"Frame {i} of {self.path.name} cannot be decoded ({type(error).__name__}): the file is damaged or cut "
                "short there. Export it anew."
            ) from None


class DicomVideo(Video):
    """A multi-frame file. See `vivim.video.readers.dicom_display` for what is shown of it."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        count = int(dataset.get("NumberOfFrames", 1) or 1)
        self._pictures = DicomPictures(path, dataset)
        first = self._pictures.read(0)
        facts = facts_of(dataset, count, path.name)
        self._starts, self.regions = facts.starts, facts.regions
        super().__init__(path, (count, *first.shape), first.dtype, **facts.of_video())
        self.frames_stated = getattr(dataset, "frames_stated", count)
        self._cache.put(0, first)

    def _decode(self, i: int) -> NDArray:
        return self._pictures.read(i)


TAGS = ["SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns"]
"""All that is read of each file to put them in order."""


def open_series(folder: Path) -> Video:
    """Open the series, or the one cine, of a folder."""
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
        file = self.files[i]
        picture = DicomPictures(file, read_header(file)).read(0)
        if picture.shape != self.shape[1:] or picture.dtype != self.dtype:
            raise VideoError(
                f"{file.name} is of another size or depth than {self.files[0].name}. Put it into a folder of its own."
            )
        return picture
