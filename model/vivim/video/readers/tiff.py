"""Multi-page TIFF files, one page a frame."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from vivim.errors import FrameError, VideoError
from vivim.video.base import Video, check_picture, check_size, oriented, over_black, plausible_aspect

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

GREYS = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
COLOURS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR, tifffile.PHOTOMETRIC.SEPARATED)
"""Meanings of samples that are read. YCbCr only where it comes out of JPEG, which makes RGB of it."""


def picture_of(page: tifffile.TiffPage, path: Path) -> NDArray:
    """A page as viewers show it: ``(H, W)`` or ``(H, W, 3)``, uint8 or uint16, black where it is transparent."""
    check_size(page.imagelength, page.imagewidth, path.name)
    picture, kind = np.asarray(page.asarray()), page.photometric
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and picture.ndim == 3:
        picture = np.moveaxis(picture, 0, -1)
    if kind == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        picture = (page.colormap[:, picture.astype(np.intp)] >> 8).astype(np.uint8)
        picture = np.moveaxis(picture, 0, -1)
    elif kind in GREYS:
        picture = _grey(picture, page.bitspersample, kind == tifffile.PHOTOMETRIC.MINISWHITE)
    elif kind == tifffile.PHOTOMETRIC.YCBCR and page.compression == tifffile.COMPRESSION.NONE:
        raise VideoError(f"{path.name} holds YCbCr values as they are. Convert it to RGB.")
    elif kind not in COLOURS:
        raise VideoError(
            f"{path.name} holds {tifffile.PHOTOMETRIC(kind).name} values. Convert it to grey or RGB."
        )
    picture = picture if picture.dtype.isnative else picture.astype(picture.dtype.newbyteorder("="))
    alpha = page.extrasamples[:1] if picture.ndim == 3 else ()
    if kind == tifffile.PHOTOMETRIC.SEPARATED and picture.ndim == 3 and picture.dtype == np.uint8:
        inks = picture[..., :4].astype(np.uint16)  # cyan, magenta, yellow and black
        picture = ((255 - inks[..., :3]) * (255 - inks[..., 3:]) // 255).astype(np.uint8)
    elif alpha == (tifffile.EXTRASAMPLE.UNASSALPHA,):
        picture = over_black(picture[..., :-1], picture[..., -1])
    orientation = page.tags.get("Orientation")
    return oriented(check_picture(picture, path), int(orientation.value) if orientation else 1)


def _grey(picture: NDArray, bits: int, white_is_0: bool) -> NDArray:
    """Grey with black as 0, and less than 8 bits spread over 8."""
    if picture.dtype == bool:
        picture, bits = picture.astype(np.uint8), 1
    if picture.dtype.kind != "u" or picture.ndim != 2:
        return picture
    top = 2**bits - 1
    picture = top - picture if white_is_0 else picture
    return (picture.astype(np.uint16) * 255 // top).astype(np.uint8) if bits < 8 else picture


class TiffVideo(Video):
    """Pages are read one by one. The frame interval and unit that ImageJ or OME noted are understood."""

    def __init__(self, path: Path) -> None:
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
                path,
                (count, *first.shape),
                first.dtype,
                _rate(self._tiff),
                _spacing(self._tiff),
                pixel_aspect=aspect_of(self._pages.first),
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
        return picture_of(page, path)

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


def aspect_of(page: tifffile.TiffPage) -> float:
    """Width by height of a pixel: dots along x and y that differ are meant, equal ones mostly are not."""
    dots = [page.tags[name].value if name in page.tags else (1, 1) for name in ("XResolution", "YResolution")]
    (x, x_unit), (y, y_unit) = dots
    return plausible_aspect(y * x_unit / (y_unit * x)) if min(x, x_unit, y, y_unit) > 0 else 1.0


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
