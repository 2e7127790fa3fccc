"""File formats of masks: one module per format, which writes and reads it.

To add a format, write a module here and add a line to `FORMATS`, `MASK_FILES` or `MASK_FOLDERS`. A writer is a function
``write_x(work, path)`` that makes a file or folder at `path` and yields how many frames are done, see
`vivim.io.mask_source.Work`. A reader is a function ``find_x(path, shape, keep, options)`` that returns a
`vivim.io.import_source.Found`. One of folders returns None where there is nothing of its kind. The command line,
`vivim.io.export` and `vivim.io.import_masks` take them from here. The window names each format in
`napari_vivim.widgets.export_widget.FORMATS`. The modules load when they are first used.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Format:
    """A format that masks are written in."""

    file: str
    """Name of the file or folder that it makes in the output folder."""
    writer: str
    """Module here and function, as ``"png:write_png"``."""
    by_lesion: bool = False
    """Whether it needs the numbers of lesions, which are found from the first frame on."""
    stack: bool = False
    """Whether a frame is found by its place in the file. A damaged frame then keeps its place, and is
    empty."""


FORMATS = {
    "png": Format("masks", "png:write_png"),
    "palette": Format("palette", "png:write_palette", by_lesion=True),
    "youtube-vos": Format("youtube-vos", "youtube_vos:write_youtube_vos", by_lesion=True),
    "tiff": Format("masks.tif", "tiff:write_tiff", stack=True),
    "ome-tiff": Format("masks.ome.tif", "tiff:write_ome_tiff", stack=True),
    "coco": Format("coco.json", "coco:write_coco", by_lesion=True),
    "nifti": Format("masks.nii.gz", "nifti:write_nifti", stack=True),
    "dicom-seg": Format("segmentation.dcm", "dicom_seg:write_dicom_seg", by_lesion=True),
    "mp4": Format("overlay.mp4", "overlay_video:write_overlay", stack=True),
    "csv": Format("measurements.csv", "measurements_csv:write_measurements", by_lesion=True),
    "dataset": Format("dataset", "dataset:write_dataset"),
}
"""Formats that are written, by the name that ``--format`` takes."""

MASK_FOLDERS = ("labelme:find_labelme_folder", "yolo:find_yolo", "png:find_pictures")
"""Readers of folders of masks, the first that finds something of its kind. Pictures beside texts are the video's."""
MASK_FILES = {
    ".json": "labelme:find_json",
    ".xml": "cvat:find_cvat",
    ".txt": "yolo:find_yolo",
    ".seg.nrrd": "seg_nrrd:find_nrrd",
    ".nii": "nifti:find_nifti",
    ".nii.gz": "nifti:find_nifti",
    ".tif": "tiff:find_tiff",
    ".tiff": "tiff:find_tiff",
}
"""Readers of files of masks, by suffix."""


def loaded(name: str) -> Callable[..., Any]:
    """Import a writer or reader by its module and function."""
    return pkgutil.resolve_name(f"{__name__}.{name}")
