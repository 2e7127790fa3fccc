from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
from napari._app_model import get_app_model
from napari._app_model.constants import MenuId
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest
from PIL import Image
from vivim import Session
from vivim.errors import VideoError
from vivim.video import write_video
from vivim.video.open import SUFFIXES

import napari_vivim
from napari_vivim.readers import SESSION_KEY, get_reader

MANIFEST = Path(napari_vivim.__file__).with_name("napari.yaml")


def test_the_manifest_names_things_that_exist() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    shown = [widget.display_name for widget in manifest.contributions.widgets]
    assert shown == ["Vivim Segment", "Vivim Fine-tune", "Vivim Export", "Vivim Timeline"]
    package, _, icon = str(manifest.icon).partition(":")
    assert (resources.files(package) / icon).read_text("utf-8").startswith("<svg")


def test_widgets_are_in_the_menus_of_their_task(
    make_napari_viewer: Callable[[], Any], manifests: list[Any]
) -> None:
    """In Plugins > Vivim, and where people look for what they do."""
    make_napari_viewer()
    menus = get_app_model().menus
    for menu, command in (
        (MenuId.LAYERS_SEGMENT, "napari-vivim.segment"),
        (MenuId.LAYERS_SEGMENT, "napari-vivim.finetune"),
        (MenuId.LAYERS_ANNOTATE, "napari-vivim.timeline"),
        (MenuId.FILE_IO_UTILITIES, "napari-vivim.export"),
        ("napari/plugins/napari-vivim", "napari-vivim.segment"),
    ):
        assert command in [
            item.command.id for item in menus.get_menu(str(menu)) if hasattr(item, "command")
        ], menu


def test_importing_the_plugin_loads_no_torch() -> None:
    code = "import sys, napari_vivim; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_video_is_one_lazy_layer(video: Path) -> None:
    reader = get_reader(str(video))
    assert reader is not None
    [(data, options, kind)] = reader(str(video))
    assert kind == "image" and not isinstance(data, np.ndarray)
    assert data.shape[0] == 12 and options["rgb"] == (len(data.shape) == 4)
    assert options["axis_labels"] == ("time", "y", "x")
    assert options["units"] == ("pixel", "pixel", "pixel") and options["scale"] == (1.0, 1.0, 1.0)
    assert options["metadata"]["vivim_path"] == str(video)


def test_a_folder_of_readers_sessions_is_opened_by_its_video(video: Path) -> None:
    with Session.open(video, reader="anna") as session:
        top = session.folder.parents[1]
    for folder in (top, session.folder):
        reader = get_reader(str(folder))
        assert reader is not None
        [(_, options, _)] = reader(str(folder))
        assert options["metadata"]["vivim_path"] == str(video)
        assert options["metadata"][SESSION_KEY] == str(folder)


def test_stacks_and_folders_of_pictures_open(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 32, 40), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", frames)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:03}.png")
    for path in (tmp_path / "stack.tif", folder):
        reader = get_reader(str(path))
        assert reader is not None
        [(data, _, _)] = reader(str(path))
        assert np.array_equal(np.asarray(data[2]).reshape(32, 40, -1)[..., 0], frames[2])


def test_other_things_are_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    assert get_reader(str(tmp_path / "notes.txt")) is None
    (tmp_path / "empty").mkdir()
    assert get_reader(str(tmp_path / "empty")) is None


def test_the_manifest_claims_our_files_and_no_others(tmp_path: Path) -> None:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    for suffix in (*SUFFIXES, ".MP4", ".DCM"):
        assert list(manager.iter_compatible_readers(str(tmp_path / f"a{suffix}"))), suffix
    for name in ("1.2.840.113619.2.21.100", "2.25.329800735698586629295641978511506172918"):
        assert list(manager.iter_compatible_readers(str(tmp_path / name))), name
    for name in (
        "a.png",
        "IMG_1.PNG",
        "image.jpg",
        "a.csv",
        "a.zarr",
        "a.npy",
        "notes.txt",
        "frame.ome.zarr",
        "im",
    ):
        assert not list(manager.iter_compatible_readers(str(tmp_path / name))), name
    assert list(manager.iter_compatible_readers(str(tmp_path)))


def test_a_dicom_file_of_any_name_is_ours(tmp_path: Path) -> None:
    for name in ("IM0001", "export.tmp", "1.2.840.10008"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(20))
        assert get_reader(str(tmp_path / name)) is not None


def test_what_is_odd_about_a_video_is_told(tmp_path: Path) -> None:
    frames = np.zeros((4, 32, 40), np.uint8)
    write_video(tmp_path / "whole.mp4", frames, 25.0)
    path = tmp_path / "fields.mkv"
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt = 40, 32, "yuv420p"
        for frame in source.decode(video=0):
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode())
    notification_manager.records.clear()
    get_reader(str(path))(str(path))
    assert "interlaced" in notification_manager.records[-1].message


def test_a_truncated_video_says_so(video: Path) -> None:
    video.write_bytes(video.read_bytes()[:200])
    reader = get_reader(str(video))
    assert reader is not None
    with pytest.raises(VideoError, match=r"phantom\.mp4"):
        reader(str(video))


@pytest.mark.parametrize("key", ["ultrasound_phantom", "endoscopy_phantom", "pydicom_cine"])
def test_sample_data_opens_and_can_hold_a_session(make_napari_viewer, key: str) -> None:
    viewer = make_napari_viewer()
    layers = viewer.open_sample("napari-vivim", key)
    assert any("vivim_path" in layer.metadata for layer in layers)
