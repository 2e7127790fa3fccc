"""DICOM files whose pixels are one MPEG-2, H.264 or HEVC stream: decoded by FFmpeg, where they lie in the file."""

import bisect
import io
import itertools
from pathlib import Path

from pydicom import Dataset
from pydicom.encaps import parse_basic_offsets

from vivim.errors import VideoError
from vivim.video.readers.dicom_header import facts_of
from vivim.video.readers.dicom_repair import items_of
from vivim.video.readers.ffmpeg import FFmpegVideo


class Fragments(io.RawIOBase):
    """The fragments of encapsulated pixels, read as one stream from the file they lie in. The last may be cut."""

    def __init__(self, path: Path, start: int) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        parse_basic_offsets(self._file)
        items = items_of(self._file).values
        self._places = [place for place, _, _ in items]
        self._starts = [0, *itertools.accumulate(length for _, length, _ in items)]
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte of the stream. Returns which."""
        self._at = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        )
        return self._at

    def tell(self) -> int:
        """Where in the stream the next byte is read."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the end of a fragment. 0 at the end of the stream."""
        fragment = bisect.bisect_right(self._starts, self._at) - 1
        if fragment >= len(self._places):
            return 0
        wanted = min(len(buffer), self._starts[fragment + 1] - self._at)
        self._file.seek(self._places[fragment] + self._at - self._starts[fragment])
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()


class EncapsulatedVideo(FFmpegVideo):
    """Frames are RGB uint8. Times are the stream's own, the rate is the header's where it states one."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        ended = getattr(dataset, "items_start", None)
        self._start = ended or dataset.get_item("PixelData", keep_deferred=True).value_tell  # type: ignore[union-attr, attr-defined]
        super().__init__(path)
        facts = facts_of(dataset, len(self), path.name)
        self.pixel_spacing_mm, self.regions = facts.spacing_mm, facts.regions
        self._starts = facts.starts or self._starts
        self.fps = facts.fps or self.fps
        self._aspect = facts.pixel_aspect or self._aspect
        self.notes += facts.notes

    def _source(self) -> Fragments:
        try:
            return Fragments(self._file, self._start)  # closed when the container that reads it goes
        except (ValueError, OSError, EOFError) as error:
            raise VideoError(
                f"The stream in {self._file.name} is damaged ({type(error).__name__}). Export it anew."
            ) from None
