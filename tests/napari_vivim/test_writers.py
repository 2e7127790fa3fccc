"""File > Save of a labels layer, in every format the manifest offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from npe2 import PluginManifest, write
from npe2._pytest_plugin import TestPluginManager
from PIL import Image
from pycocotools.coco import COCO
from vivim.errors import ExportError

import napari_vivim
from napari_vivim.writers import write_labels

MANIFEST = Path(napari_vivim.__file__).with_name("napari.yaml")


def labels_of(frames: int = 4) -> np.ndarray:
    labels = np.zeros((frames, 20, 30), np.int32)
    for t in range(frames):
        labels[t, 3:12, 4 + t : 15] = 1
        labels[t, 14:18, 20:25] = 3
    return labels


@pytest.fixture
def plugin(npe2pm: TestPluginManager) -> Iterator[None]:
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        yield


@pytest.fixture
def layer(plugin: None) -> Labels:
    return Labels(labels_of(), scale=(0.05, 0.5, 0.25), units=("s", "mm", "mm"))


def save(layer: Labels, path: Path) -> Path:
    (written,) = write(str(path), [layer], plugin_name="napari-vivim")
    return Path(written)


def test_the_manifest_offers_writers_of_labels() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    endings = [ending for writer in manifest.contributions.writers for ending in writer.filename_extensions]
    assert {".tif", ".nii.gz", ".json", ".png"} <= set(endings)
    manifest.validate_imports()


@pytest.mark.parametrize("name", ["m.tif", "m.TIFF", "m.ome.tif"])
def test_tiff_with_scales(layer: Labels, tmp_path: Path, name: str) -> None:
    path = save(layer, tmp_path / name)
    np.testing.assert_array_equal(tifffile.imread(path), labels_of())
    with tifffile.TiffFile(path) as file:
        assert file.is_ome == (".ome" in name)
        if file.is_imagej:
            assert file.imagej_metadata["finterval"] == pytest.approx(0.05)
            assert file.pages[0].tags["XResolution"].value == (4, 1)


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz"])
def test_nifti_with_scales(layer: Labels, tmp_path: Path, name: str) -> None:
    image = nibabel.load(save(layer, tmp_path / name))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].transpose(2, 1, 0), labels_of())
    np.testing.assert_allclose(image.header.get_zooms(), (0.25, 0.5, 1, 0.05))


def test_coco(layer: Labels, tmp_path: Path) -> None:
    coco = COCO(save(layer, tmp_path / "m.json"))
    found = np.zeros_like(labels_of())
    for entry in coco.anns.values():
        found[entry["image_id"] - 1][coco.annToMask(entry) > 0] = entry["category_id"]
    np.testing.assert_array_equal(found, labels_of())


def test_png_makes_a_folder_and_replaces_none(layer: Labels, tmp_path: Path) -> None:
    folder = save(layer, tmp_path / "masks.png")
    assert folder == tmp_path / "masks"
    with pytest.raises(ExportError, match="is not empty"):
        write_labels(str(tmp_path / "masks.png"), labels_of(2), {})
    assert [p.name for p in sorted(folder.iterdir())] == [f"{t:06d}.png" for t in range(4)]
    for t, path in enumerate(sorted(folder.iterdir())):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), (labels_of()[t] > 0) * 255)


def test_pixels_without_units_have_no_size_and_a_picture_is_one_frame(plugin: None, tmp_path: Path) -> None:
    image = nibabel.load(save(Labels(labels_of()[0]), tmp_path / "m.nii"))
    assert image.shape == (30, 20, 1, 1)
    assert image.header.get_xyzt_units() == ("unknown", "unknown")


def test_what_is_no_mask_of_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="4 axes"):
        write_labels(str(tmp_path / "m.tif"), np.zeros((2, 2, 5, 5), int), {})
    with pytest.raises(ExportError, match="Renumber them"):
        write_labels(str(tmp_path / "m.tif"), np.full((2, 5, 5), 256), {})
    with pytest.raises(ExportError, match="Choose another place"):
        write_labels(str(tmp_path / "absent" / "m.tif"), np.ones((2, 5, 5), int), {})
    assert list(tmp_path.iterdir()) == []


def test_the_masks_of_a_session_are_saved_from_the_viewer(segment, tmp_path: Path) -> None:
    segment.controller.go_to(4)
    segment.controller.masks.paint((4, 30, 30), 1)
    (written,) = segment.viewer.layers.save(str(tmp_path / "m.nii.gz"), selected=True, plugin="napari-vivim")
    image = nibabel.load(written)
    stack = np.asarray(image.dataobj)[:, :, 0].transpose(2, 1, 0)
    np.testing.assert_array_equal(stack, np.asarray(segment.controller.session.masks))
    assert stack[4].any()
    (written,) = segment.controller.masks.save(str(tmp_path / "plain"))
    assert Path(written).name == "plain.tif"  # without an ending, napari's own writer stays the first choice
