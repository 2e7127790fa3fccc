"""Multi-page TIFF files, one page a frame."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video, check_picture, check_size

MM_PER_UNIT = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
}
"""Units of length as ImageJ and OME write them."""

PILLOWS = (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.PACKBITS)
"""Compressions that tifffile reads only with a further package, and Pillow always."""


class TiffVideo(Video):
    """Pages are read one by one. The frame interval and unit that ImageJ or OME noted are understood."""

    def __init__(self, path: Path) -> None:
        self._pillow: Image.Image | None = None
        self._block: NDArray | None = None
        try:
            self._tiff = tifffile.TiffFile(path)
        except Exception as error:  # tifffile raises many kinds for damaged files
            raise VideoError(f"{path.name} cannot be read as TIFF ({error}). Save it anew.") from error
        try:
            self._pages = self._tiff.pages
            count = self._count(path)
            first = self._page(0, path)
            super().__init__(
                path, (count, *first.shape), first.dtype, _rate(self._tiff), _spacing(self._tiff)
            )
        except VideoError:
            self._release()
            raise
        except Exception as error:  # tifffile and Pillow raise many kinds for damaged files
            self._release()
            raise VideoError(f"{path.name} cannot be read as TIFF ({error}). Save it anew.") from error
        self._cache.put(0, first)

    def _count(self, path: Path) -> int:
        """Frames: pages, or pictures behind a single page, as written in one block by ImageJ."""
        series = self._tiff.series[0]
        beside = {a: n for a, n in zip(series.axes, series.shape, strict=True) if n > 1 and a not in "YXS"}
        if len(beside) > 1:
            raise VideoError(
                f"{path.name} has more than time beside its pictures ({beside}), as channels or slices. "
                "Save one of them, or an RGB version, as a stack."
            )
        if len(self._pages) == 1 and self._pages[0].axes == "SYX":
            # Three or four grey frames that tifffile took for the planes of one colour picture when it wrote them.
            check_size(self._pages[0].shape[1], self._pages[0].shape[2], path.name)
            self._block = self._pages[0].asarray()
            return len(self._block)
        page = self._pages[0].shape
        if len(self._pages) == 1 and len(series.shape) > len(page) and series.shape[-len(page) :] == page:
            self._block = tifffile.memmap(path, mode="r").reshape((-1, *page))
        return len(self._pages) if self._block is None else len(self._block)

    def _page(self, i: int, path: Path) -> NDArray:
        if self._block is not None:
            return check_picture(np.array(self._block[i]), path)
        page = self._pages[i]
        if not isinstance(page, tifffile.TiffPage):  # a light view of a page, without its own tags
            page = page.aspage()
        check_size(page.imagelength, page.imagewidth, path.name)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE or page.compression in PILLOWS:
            return self._page_by_pillow(i, path)
        picture = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and picture.ndim == 3:
            picture = np.moveaxis(picture, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and picture.dtype.kind == "u":
            picture = np.iinfo(picture.dtype).max - picture
        return check_picture(picture, path)

    def _page_by_pillow(self, i: int, path: Path) -> NDArray:
        """A page with a palette, or compressed in a way that tifffile needs a further package for."""
        if self._pillow is None:
            self._pillow = Image.open(path)
        self._pillow.seek(i)
        grey = self._pillow.mode.startswith(("L", "I;16", "1"))
        return check_picture(np.array(self._pillow if grey else self._pillow.convert("RGB")), path)

    def _decode(self, i: int) -> NDArray:
        try:
            page = self._page(i, self.path)
        except VideoError:
            raise
        except Exception as error:  # tifffile raises many kinds for damaged files
            raise FrameError(
                f"Page {i} of {self.path.name} cannot be read ({error}). Save the file anew."
            ) from error
        if page.shape != self.shape[1:]:
            raise VideoError(
                f"Page {i} of {self.path.name} has shape {page.shape}, page 0 {self.shape[1:]}. "
                "All frames of a video need one size."
            )
        return page

    def _release(self) -> None:
        self._block = None
        self._tiff.close()
        if self._pillow is not None:
            self._pillow.close()


def _rate(tiff: tifffile.TiffFile) -> float | None:
    """Frames per second, where ImageJ's metadata say so."""
    imagej = tiff.imagej_metadata or {}
    interval = imagej.get("finterval") or 0
    rate = 1.0 / interval if interval else imagej.get("fps")
    return float(rate) if rate else None


def _spacing(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """Height and width of a pixel in mm, where OME or ImageJ name a unit of length.

    The resolution alone is not trusted: most programs write 72 or 96 dots an inch, whatever the picture shows.
    """
    if tiff.ome_metadata:
        return _ome_spacing(tiff.ome_metadata)
    unit = str((tiff.imagej_metadata or {}).get("unit") or "").replace("\\u00B5", "µ").lower()
    if unit not in MM_PER_UNIT:
        return None
    tags = tiff.pages.first.tags
    values = [tags[name].value if name in tags else (0, 1) for name in ("YResolution", "XResolution")]
    if not all(value[0] for value in values):
        return None
    row, column = (MM_PER_UNIT[unit] * value[1] / value[0] for value in values)
    return row, column


def _ome_spacing(xml: str) -> tuple[float, float] | None:
    """Height and width of a pixel in mm from OME's Pixels element. Lengths are in µm where it names no unit."""
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return None
    sizes = []
    for axis in "YX":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm").lower()
        size = float(pixels.get(f"PhysicalSize{axis}", 0))
        if unit not in MM_PER_UNIT or size <= 0:
            return None
        sizes.append(size * MM_PER_UNIT[unit])
    return sizes[0], sizes[1]
