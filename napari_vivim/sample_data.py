"""Videos to try the plugin on, without any data of one's own."""

from collections.abc import Callable
from pathlib import Path

from vivim.settings import Settings, settings, vivim_home
from vivim.video.open import open_video

from napari_vivim.background.worker import in_background, load_layers
from napari_vivim.layers.masks_layer import warm_up_masks_layer
from napari_vivim.layers.video_frames import LayerData, geometry, image_layer
from napari_vivim.qt.plain_text import plain_errors
from napari_vivim.readers import open_dock_soon

FRAMES = 60
SEED = 7


def ultrasound_phantom() -> list[LayerData]:
    """A synthetic ultrasound video with a lesion, and its true masks as a hidden layer."""
    return _opened(lambda: _phantom("speckle", "ultrasound-phantom"))


def endoscopy_phantom() -> list[LayerData]:
    """A synthetic endoscopy video with a polyp, and its true masks as a hidden layer."""
    return _opened(lambda: _phantom("mucosa", "endoscopy-phantom"))


def pydicom_cine() -> list[LayerData]:
    """The 30-frame colour ultrasound cine that pydicom ships."""
    return _opened(_cine)


def _opened(make: Callable[[], list[LayerData]]) -> list[LayerData]:
    """Make the layers in the background. The dock follows."""

    def work() -> tuple[list[LayerData], Settings]:
        load_layers()
        warm_up_masks_layer()
        return make(), settings()

    with plain_errors():
        layers, chosen = in_background(work)
    open_dock_soon(chosen)
    return layers


def _cine() -> list[LayerData]:
    from pydicom.examples import get_path

    video = open_video(get_path("ybr_color"))
    return [image_layer(video, vivim_session_folder=str(_folder() / "pydicom-cine.vivim"))]


def _folder() -> Path:
    folder = vivim_home() / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _phantom(texture: str, name: str) -> list[LayerData]:
    from vivim.video.phantom import make_phantom
    from vivim.video.writer import write_video

    phantom = make_phantom(FRAMES, texture=texture, seed=SEED)
    path = _folder() / f"{name}.mp4"
    if not path.exists():
        write_video(path, phantom.frames, phantom.fps)
    video = open_video(path)
    truth = {"name": f"{name} (truth)", "visible": False, "opacity": 0.4, **geometry(video)}
    return [(phantom.masks, truth, "labels"), image_layer(video)]
