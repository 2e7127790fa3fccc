"""Multi-page TIFF files, one page a frame."""

from __future__ import annotations

from pathlib import Path

import tifffile
from numpy.typing import NDArray

from vivim.errors import VideoError
from vivim.video.base import VideoBase, check_picture

MM_PER_UNIT = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "\\u00B5m": 1e-3,
}


class TiffVideo(VideoBase):
    """Pages are read one by one; ImageJ's frame interval and unit are understood."""

    def __init__(self, path: Path) -> None:
        try:
            self._tiff = tifffile.TiffFile(path)
            self._pages = self._tiff.pages
            self._series = self._tiff.series[0]
            first = self._page(0, path)
        except VideoError:
            raise
        except Exception as error:  # tifffile raises many kinds for damaged files
            raise VideoError(f"{path.name} cannot be read as TIFF ({error}). Save it anew.") from error
        imagej = self._tiff.imagej_metadata or {}
        interval = imagej.get("finterval") or 0
        super().__init__(
            path,
            (self._count(), *first.shape),
            first.dtype,
            1.0 / interval if interval else imagej.get("fps"),
            _spacing(self._tiff, imagej.get("unit")),
        )
        self._cache.put(0, first)

    def _count(self) -> int:
        """Frames: pages, or planes of a single page that ImageJ wrote as one block."""
        pages = len(self._pages)
        if pages > 1:
            return pages
        shape = self._series.shape
        planar = len(shape) > 2 and shape[-1] not in (3, 4)
        return int(shape[0]) if planar else 1

    def _page(self, i: int, path: Path) -> NDArray:
        if len(self._pages) > 1:
            return check_picture(self._pages[i].asarray(), path)
        if self._count() > 1:
            return check_picture(tifffile.memmap(path, mode="r")[i].copy(), path)
        return check_picture(self._pages[0].asarray(), path)

    def _decode(self, i: int) -> NDArray:
        try:
            page = self._page(i, self.path)
        except VideoError:
            raise
        except Exception as error:  # tifffile raises many kinds for damaged files
            raise VideoError(
                f"Page {i} of {self.path.name} cannot be read ({error}). Save the file anew."
            ) from error
        if page.shape != self.shape[1:]:
            raise VideoError(
                f"Page {i} of {self.path.name} has shape {page.shape}, page 0 {self.shape[1:]}. "
                "All frames of a video need one size."
            )
        return page

    def _release(self) -> None:
        self._tiff.close()


def _spacing(tiff: tifffile.TiffFile, unit: str | None) -> tuple[float, float] | None:
    """Height and width of a pixel in mm, where ImageJ's metadata name a unit of length."""
    scale = MM_PER_UNIT.get(str(unit).lower()) if unit else None
    if scale is None:
        return None
    tags = tiff.pages.first.tags
    sizes = []
    for name in ("YResolution", "XResolution"):
        value = tags[name].value if name in tags else None
        if not value or not value[0]:
            return None
        sizes.append(scale * value[1] / value[0])
    return sizes[0], sizes[1]
