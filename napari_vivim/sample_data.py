"""Videos to try the plugin on, without any data of one's own."""

from __future__ import annotations

from pathlib import Path

from vivim.video import make_phantom, open_video, write_video

from napari_vivim.opening import open_dock_soon
from napari_vivim.readers import LayerData, geometry, image_layer

FRAMES = 60
SEED = 7


def ultrasound_phantom() -> list[LayerData]:
    """A synthetic ultrasound video with a lesion, and its true masks as a hidden layer."""
    return _phantom("speckle", "ultrasound-phantom")


def endoscopy_phantom() -> list[LayerData]:
    """A synthetic endoscopy video with a polyp, and its true masks as a hidden layer."""
    return _phantom("mucosa", "endoscopy-phantom")


def pydicom_cine() -> list[LayerData]:
    """The 30-frame colour ultrasound cine that pydicom ships."""
    from pydicom.examples import get_path

    video = open_video(get_path("ybr_color"))
    open_dock_soon()
    return [image_layer(video, vivim_session_folder=str(_folder() / "pydicom-cine.vivim"))]


def _folder() -> Path:
    from vivim.settings import vivim_home

    folder = vivim_home() / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _phantom(texture: str, name: str) -> list[LayerData]:
    phantom = make_phantom(FRAMES, texture=texture, seed=SEED)
    path = _folder() / f"{name}.mp4"
    if not path.exists():
        write_video(path, phantom.frames, phantom.fps)
    video = open_video(path)
    open_dock_soon()
    truth = {"name": f"{name} (truth)", "visible": False, "opacity": 0.4, **geometry(video)}
    return [(phantom.masks, truth, "labels"), image_layer(video)]
