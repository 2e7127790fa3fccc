"""Sample data: two synthetic videos with a known lesion, and the ultrasound cine that ships with pydicom.

Each is a file in a folder of the person's own, so that a session can live beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from napari_vivim.readers import LayerData, geometry, video_layer

FRAMES = 60


def ultrasound_phantom() -> list[LayerData]:
    """The ultrasound-like phantom, with its true masks as a hidden layer."""
    return _phantom("speckle", "ultrasound")


def endoscopy_phantom() -> list[LayerData]:
    """The endoscopy-like phantom, with its true masks as a hidden layer."""
    return _phantom("mucosa", "endoscopy")


def ultrasound_cine() -> list[LayerData]:
    """The 30-frame colour ultrasound that ships with pydicom, copied to where a session may be kept."""
    from pydicom.examples import get_path

    source = Path(get_path("ybr_color"))
    copy = samples_folder() / "ultrasound cine.dcm"
    if not copy.is_file():
        shutil.copyfile(source, copy)
    return [video_layer(copy)]


def samples_folder() -> Path:
    """Where samples and their sessions are kept; made if absent."""
    from vivim.models import models_folder

    folder = models_folder().parent / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _phantom(texture: str, name: str) -> list[LayerData]:
    """Write the phantom once, then open it like any other video."""
    from vivim.video import make_phantom, write_video

    path = samples_folder() / f"lesion phantom ({name}).mp4"
    truth = path.with_suffix(".truth.npz")
    if not (path.is_file() and truth.is_file()):
        phantom = make_phantom(frames=FRAMES, texture=texture, seed=7)
        np.savez_compressed(truth, masks=phantom.masks)
        write_video(path, phantom.frames, phantom.fps)
    with np.load(truth) as stored:
        masks = stored["masks"]
    layer = video_layer(path)
    keywords = {"name": f"True lesion ({name})", "visible": False, "opacity": 0.4, **geometry(None)}
    return [layer, (masks, keywords, "labels")]
