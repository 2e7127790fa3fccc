"""Scale of a pixel where a lesion lies, since an ultrasound picture may hold regions of different scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vivim.imaging.components import Lesion, lesions_of

if TYPE_CHECKING:
    from vivim.video import Video
    from vivim.video.readers.dicom_header import Region

PICTURE, UNKNOWN, OUTSIDE, ACROSS = "picture", "unknown", "outside the regions", "across regions"


class Scale(NamedTuple):
    """Height and width of a pixel in mm, None where unknown, and the source of it.

    `source` is the kind of the region, ``"picture"`` where one size holds everywhere, else why there is none:
    ``"unknown"``, ``"outside the regions"`` or ``"across regions"``.
    """

    spacing_mm: tuple[float, float] | None
    source: str


def regions_of(video: Video) -> tuple[Region, ...]:
    """Calibrated parts of a video's picture, where it is an ultrasound in DICOM; B-mode first."""
    return getattr(video, "regions", ())


def scale_of_picture(regions: Sequence[Region], spacing: tuple[float, float] | None) -> Scale:
    """Scale of the picture as a whole, if there is one."""
    return Scale(spacing, PICTURE if spacing else ACROSS if _calibrated(regions) else UNKNOWN)


def scale_of(lesion: Lesion, regions: Sequence[Region], spacing: tuple[float, float] | None) -> Scale:
    """Scale of the region in which a lesion lies. It may reach out of it, but not into one of another scale.

    Where no region is measured in lengths, the picture's `spacing` holds.
    """
    from vivim.video.readers.dicom_header import agree

    if not _calibrated(regions):
        return scale_of_picture(regions, spacing)
    touched = [region for region in regions if _touches(lesion, region)]
    if not touched:
        return Scale(None, OUTSIDE)
    if not agree([region.spacing_mm for region in touched]):
        return Scale(None, ACROSS)
    return Scale(touched[0].spacing_mm, touched[0].kind)


def area_mm2(
    mask: NDArray[np.uint8], regions: Sequence[Region], spacing: tuple[float, float] | None
) -> float | None:
    """Area of all lesions of a mask ``(H, W)`` in square millimetres, each by its own scale.

    None where one of them has no scale. None for an empty mask where the picture has no scale.
    """
    if not _calibrated(regions):
        return None if spacing is None else float(np.count_nonzero(mask) * spacing[0] * spacing[1])
    lesions = lesions_of(mask)
    if not lesions:
        return 0.0 if scale_of_picture(regions, spacing).spacing_mm else None
    total = 0.0
    for lesion in lesions:
        size = scale_of(lesion, regions, spacing).spacing_mm
        if size is None:
            return None
        total += lesion.area * size[0] * size[1]
    return total


def _calibrated(regions: Sequence[Region]) -> bool:
    return any(region.spacing_mm for region in regions)


def _touches(lesion: Lesion, region: Region) -> bool:
    y0, x0, y1, x1 = region.box
    rows = slice(max(0, y0 - lesion.top), max(0, y1 - lesion.top))
    columns = slice(max(0, x0 - lesion.left), max(0, x1 - lesion.left))
    return bool(np.any(lesion.image[rows, columns]))
