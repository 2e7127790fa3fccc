"""File > Save of a labels layer: TIFF, OME-TIFF, NIfTI, COCO JSON, or a folder of PNG masks."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vivim.errors import ExportError

from napari_vivim.qt.plain_text import plain_errors

SECOND, MILLIMETRE = "second", "millimeter"
MOST = 255
"""Labels beyond this do not fit into a mask."""

PICTURES = ".png"

FORMATS = {
    PICTURES: "png",
    ".ome.tif": "ome-tiff",
    ".ome.tiff": "ome-tiff",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".json": "coco",
}


class Frames:
    """A labels layer's data as masks ``(T, H, W)`` uint8, converted frame by frame."""

    def __init__(self, data: Any) -> None:
        self._data = data if data.ndim > 2 else np.asarray(data)[None]
        if self._data.ndim != 3:
            raise ExportError(f"These labels have {data.ndim} axes; a video's have time, rows and columns.")
        self.shape: tuple[int, ...] = tuple(self._data.shape)

    def __getitem__(self, t: int) -> NDArray[np.uint8]:
        labels = np.asarray(self._data[t])
        if labels.min() < 0 or labels.max() > MOST:
            raise ExportError(f"Frame {t} has labels that are not from 0 to {MOST}. Renumber them first.")
        return labels.astype(np.uint8)


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer in the format that a path's ending names.

    ``.png`` makes a folder of pictures, one a frame, named as the path is without its ending.
    `data` are ``(T, H, W)`` or ``(H, W)``, labels up to 255. The scale in `meta` is used where its units are seconds
    and millimetres. Returns what was written. An `ExportError` says why it cannot be.
    """
    from vivim.io.export import write_as
    from vivim.io.mask_source import MaskStack, Work

    name = Path(path).name.lower()
    ending = max((ending for ending in FORMATS if name.endswith(ending)), key=len, default=PICTURES)
    final = Path(path).with_suffix("") if ending == PICTURES else Path(path)
    with plain_errors():
        stack = MaskStack(Frames(data), *_scales(meta))
        try:
            if final.is_dir() and any(final.iterdir()):
                raise ExportError(f"The folder {final} is not empty. Choose another name.")
            for _ in write_as(FORMATS[ending], Work(stack, range(stack.shape[0])), final):
                pass
        except OSError as error:
            text = f"Cannot write {path}: {error.strerror or error}. Choose another place."
            raise ExportError(text) from error
    return [str(final)]


def _scales(meta: dict[str, Any]) -> tuple[float | None, tuple[float, float] | None]:
    """Frames per second and the size of a pixel in mm, where the layer says so."""
    scale, units = meta.get("scale"), [str(unit) for unit in meta.get("units") or ()]
    if scale is None or len(scale) != len(units) or len(scale) < 2:
        return None, None
    timed = len(units) == 3 and units[0] == SECOND and scale[0] > 0
    sized = units[-2:] == [MILLIMETRE, MILLIMETRE]
    return (
        1.0 / float(scale[0]) if timed else None,
        (float(scale[-2]), float(scale[-1])) if sized else None,
    )
