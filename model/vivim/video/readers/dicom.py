"""Multi-frame DICOM (ultrasound and endoscopy cines), decoded one frame at a time through pydicom.

Only geometry, timing and what the display needs are read from the header; nothing about the patient is kept, and no
message repeats what a header says.
"""

from pathlib import Path

from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video
from vivim.video.readers.dicom_codecs import DECODER_DEPENDENCIES
from vivim.video.readers.dicom_display import display_of
from vivim.video.readers.dicom_header import MPEG, facts_of, is_in_memory, read_header


def open_dicom(path: Path) -> Video:
    """Open a DICOM file, whatever its pixels are coded with.

    Raises `VideoError` if it is damaged, holds no pictures, or nothing here decodes them.
    """
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
        except (
            Exception
        ) as error:  # whatever damaged headers make pydicom raise, with their values in its words
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
        """Picture `i`: ``(H, W, 3)`` uint8 or ``(H, W)`` uint8 or uint16.

        Raises `VideoError` if it cannot be decoded.
        """
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

    def frame_time(self, i: int) -> float:
        """When frame `i` is shown, in seconds from the first. Frame numbers where the header does not say."""
        return self._starts[i] if self._starts else float(i)
