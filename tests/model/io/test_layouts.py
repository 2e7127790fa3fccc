"""Pictures, layouts, stacks and annotations, each read back by somebody else's reader."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes
from vivim import Session
from vivim.errors import ExportError
from vivim.io.export import export
from vivim.io.formats import png as export_png
from vivim.io.formats import shapes
from vivim.training.datasets import find_clips, load_dataset, load_session, pair_files


def masks_of(shape: tuple[int, int, int]) -> np.ndarray:
    """The lesion of the sample's size, one with a hole, one of class 2; nothing in the last frame but one."""
    masks = np.zeros(shape, np.uint8)
    for t in range(shape[0]):
        masks[t, 10 + t : 30 + t, 5:30] = 1
        masks[t, 5:25, 50 + t : 70 + t] = 1
        masks[t, 12:16, 55 + t : 60 + t] = 0
        masks[t, 45:60, 60:80] = 2
    masks[-2] = 0
    return masks


@pytest.fixture
def worked(session: Session) -> Session:
    for t, mask in enumerate(masks_of(session.shape)):
        if t != 3:
            session.propose(t, mask, "v1")
    session.correct(5, masks_of(session.shape)[5])
    return session


def run(session: Session, out: Path, name: str, **options) -> Path:
    (*_, last) = export(session, out, [name], **options)
    assert last.done == last.total
    return last.path


def expected(session: Session) -> np.ndarray:
    masks = masks_of(session.shape)
    masks[3] = 0
    return masks


def numbers_of(masks: np.ndarray) -> np.ndarray:
    """Lesions 1 and 2 of class 1 from left to right, 3 of class 2, in the order they come from top to bottom."""
    numbers = np.zeros(masks.shape, int)
    numbers[:, :45, 45:][masks[:, :45, 45:] == 1] = 1
    numbers[:, :, :45][masks[:, :, :45] == 1] = 2
    numbers[masks == 2] = 3
    return numbers


def test_palette_pictures_hold_the_numbers_of_lesions_in_the_colours_of_davis(worked, tmp_path: Path) -> None:
    folder = run(worked, tmp_path, "palette")
    numbers = numbers_of(expected(worked))
    for t in range(len(worked)):
        with Image.open(folder / f"{t:06d}.png") as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(np.asarray(picture), numbers[t])
            if t == 0:
                colours = np.array(picture.getpalette()).reshape(-1, 3)
    known = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]]
    np.testing.assert_array_equal(colours[:7], known)


def test_more_lesions_than_an_indexed_picture_has_numbers_for(worked, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export_png, "MOST", 2)
    for name in ("palette", "youtube-vos"):
        with pytest.raises(ExportError, match="Leave out small specks"):
            run(worked, tmp_path / "out", name)
    run(worked, tmp_path / "out", "palette", frames=(10, 11))  # nothing in it


def test_youtube_vos_has_pictures_masks_and_who_is_where(worked: Session, sample, tmp_path: Path) -> None:
    folder = run(worked, tmp_path, "youtube-vos")
    meta = json.loads((folder / "meta.json").read_text())
    ((video, entry),) = meta["videos"].items()
    numbers = numbers_of(expected(worked))
    names = [f"{t:05d}" for t in range(len(worked))]
    for t, name in enumerate(names):
        picture = Image.open(folder / "JPEGImages" / video / f"{name}.jpg")
        difference = np.asarray(picture).astype(int) - sample.frames[t]
        assert np.abs(difference).mean() < 6
        mask = Image.open(folder / "Annotations" / video / f"{name}.png")
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), numbers[t])
    assert {number: found["category"] for number, found in entry["objects"].items()} == {
        "1": "lesion", "2": "lesion", "3": "class 2",
    }  # fmt: skip
    for number, found in entry["objects"].items():
        assert found["frames"] == [names[t] for t in range(len(worked)) if (numbers[t] == int(number)).any()]


def test_a_dataset_is_a_clip_of_the_frames_that_were_looked_at(worked, sample, tmp_path: Path) -> None:
    folder = run(worked, tmp_path, "dataset")
    assert find_clips(folder) == [folder]
    pairs = pair_files(folder)
    looked_at = [t for t in range(len(worked)) if t != 3]
    assert [int(frame.stem) for frame, _ in pairs] == looked_at
    for t, (frame, mask) in zip(looked_at, pairs, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(frame)), sample.frames[t])
        np.testing.assert_array_equal(np.asarray(Image.open(mask)), (expected(worked)[t] > 0) * 255)
    with pytest.raises(ExportError, match="Choose other frames"):
        run(worked, tmp_path, "dataset", frames=(3, 4))


def test_a_dataset_of_a_part_of_the_picture_is_what_training_reads_from_the_session(
    worked: Session, tmp_path: Path
) -> None:
    worked.set_area((8, 16, 56, 80))
    (clip,) = load_dataset(str(run(worked, tmp_path, "dataset", only="corrected")), (48, 64))
    learned = load_session(worked.folder, (48, 64))
    assert learned is not None and len(learned.frames) == 1
    np.testing.assert_array_equal(clip.frames, learned.frames)
    np.testing.assert_array_equal(clip.masks, learned.masks)
    np.testing.assert_array_equal(clip.masks[0], expected(worked)[5, 8:56, 16:80] > 0)
    other = np.asarray(Image.open(next(run(worked, tmp_path, "png").iterdir())))
    assert other.shape == worked.shape[1:]


def test_ome_tiff_says_what_its_axes_and_scales_are(worked: Session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Session, "pixel_spacing_mm", (0.5, 0.25))
    monkeypatch.setattr(Session, "fps", 20.0)
    path = run(worked, tmp_path, "ome-tiff")
    assert path.name == "masks.ome.tif"
    with tifffile.TiffFile(path) as file:
        assert file.is_ome and not file.is_bigtiff
        text = file.ome_metadata
        assert file.series[0].get_axes(squeeze=False) == "TCZYXS"[:2] + file.series[0].get_axes(False)[2:]
    with Image.open(path) as pages:
        assert pages.n_frames == len(worked)
        for t in range(len(worked)):
            pages.seek(t)
            np.testing.assert_array_equal(np.asarray(pages), expected(worked)[t])
    ome = pytest.importorskip("ome_types").from_xml(text)
    (image,) = ome.images
    pixels = image.pixels
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (len(worked), 1, 1)
    assert (pixels.size_y, pixels.size_x) == worked.shape[1:]
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.25, 0.5)
    assert (pixels.physical_size_x_unit.value, pixels.time_increment_unit.value) == ("mm", "s")
    assert pixels.time_increment == pytest.approx(0.05)
    assert pixels.type.value == "uint8"
    assert pixels.channels[0].name == "labels"


@pytest.mark.parametrize("known", [True, False])
def test_nifti_has_time_last_and_says_its_scales(worked: Session, tmp_path: Path, monkeypatch, known) -> None:
    monkeypatch.setattr(Session, "pixel_spacing_mm", (0.5, 0.25) if known else None)
    monkeypatch.setattr(Session, "fps", 20.0 if known else None)
    image = nibabel.load(run(worked, tmp_path, "nifti", frames=(2, None)))
    frames, height, width = worked.shape
    assert image.shape == (width, height, 1, frames - 2)
    assert image.get_data_dtype() == np.uint8
    stack = np.asarray(image.dataobj)[:, :, 0].transpose(2, 1, 0)
    np.testing.assert_array_equal(stack, expected(worked)[2:])
    assert image.header.get_xyzt_units() == (("mm", "sec") if known else ("unknown", "unknown"))
    if known:
        np.testing.assert_allclose(image.header.get_zooms(), (0.25, 0.5, 1, 0.05))
        np.testing.assert_allclose(np.diag(image.affine), (-0.25, -0.5, 1, 1))
        assert float(image.header["toffset"]) == pytest.approx(0.1)


def test_coco_is_what_pycocotools_reads(worked: Session, tmp_path: Path) -> None:
    coco = COCO(run(worked, tmp_path, "coco"))
    masks = expected(worked)
    numbers = numbers_of(masks)
    assert [coco.imgs[t + 1]["file_name"] for t in range(len(worked))] == [
        f"{t:06d}.png" for t in range(len(worked))
    ]
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {1: "lesion", 2: "class 2"}
    assert len(coco.anns) == 3 * (len(worked) - 2)
    for t in range(len(worked)):
        found = np.zeros(worked.shape[1:], int)
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=[t + 1])):
            mask = coco.annToMask(entry).astype(bool)
            found[mask] = entry["track_id"]
            assert entry["category_id"] == (2 if entry["track_id"] == 3 else 1)
            assert entry["iscrowd"] == 0
            assert entry["area"] == coco_mask.area(entry["segmentation"]) == mask.sum()
            assert entry["bbox"] == coco_mask.toBbox(entry["segmentation"]).tolist()
            drawn = coco_mask.decode(coco_mask.frPyObjects(entry["polygons"], *worked.shape[1:]))[..., 0]
            np.testing.assert_array_equal(drawn.astype(bool), binary_fill_holes(mask))
        np.testing.assert_array_equal(found, numbers[t])


def test_coco_of_a_scope_keeps_the_numbers_of_frames_and_lesions(worked: Session, tmp_path: Path) -> None:
    coco = COCO(run(worked, tmp_path, "coco", only="corrected"))
    assert [(i["id"], i["frame"], i["status"]) for i in coco.imgs.values()] == [(6, 5, "corrected")]
    assert sorted(a["track_id"] for a in coco.anns.values()) == [1, 2, 3]


@settings(max_examples=150, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans()))
def test_run_lengths_agree_with_pycocotools_and_come_back(mask: np.ndarray) -> None:
    text = shapes.to_text(shapes.runs(mask))
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert text == theirs["counts"].decode()
    np.testing.assert_array_equal(shapes.from_runs(shapes.from_text(text), mask.shape), mask)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 2**31), max_size=20))
def test_run_lengths_of_any_size_come_back(lengths: list[int]) -> None:
    assert shapes.from_text(shapes.to_text(lengths)) == lengths


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30))
def test_text_that_holds_no_run_lengths_is_refused_or_read(text: str) -> None:
    try:
        lengths = shapes.from_text(text)
        shapes.from_runs(lengths, (5, 7))
    except ValueError as error:
        assert str(error)
    else:
        assert sum(lengths) == 35
