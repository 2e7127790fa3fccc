"""Values that are no whole labels are refused, whatever the file: no mask becomes empty by being cut to size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from vivim import Session
from vivim.errors import MasksError
from vivim.io.import_masks import import_masks

WRONG = [1e30, -1e30, 2.0**63, 2.0**31, 0.5, -1.0, np.nan, np.inf, 1e-9]


def nifti(folder: Path, masks: np.ndarray) -> Path:
    nibabel.Nifti1Image(masks.T, np.eye(4)).to_filename(folder / "in.nii")
    return folder / "in.nii"


def tiff(folder: Path, masks: np.ndarray) -> Path:
    tifffile.imwrite(folder / "in.tif", masks)
    return folder / "in.tif"


def pictures(folder: Path, masks: np.ndarray) -> Path:
    place = folder / "in"
    place.mkdir()
    for t, mask in enumerate(masks):
        Image.fromarray(mask).save(place / f"{t:04d}.tif")
    return place


@pytest.mark.parametrize("write", [nifti, tiff, pictures])
@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("one_class", [False, True])
def test_no_value_is_cut_to_size(
    session: Session, tmp_path: Path, write: Callable, value: float, one_class: bool
) -> None:
    masks = np.zeros(session.shape, np.float32)
    masks[4, 10:20, 10:20] = value
    with pytest.raises(MasksError, match="no labels"):
        list(import_masks(session, write(tmp_path, masks), one_class=one_class))
    assert session.frames_with("corrected") == []


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.uint64, 2**63 + 1), (np.int64, -(2**63)), (np.uint32, 2**32 - 1)]
)
def test_whole_numbers_that_are_too_large(session: Session, tmp_path: Path, dtype: type, value: int) -> None:
    masks = np.zeros(session.shape, dtype)
    masks[4, 10:20, 10:20] = value
    with pytest.raises(MasksError, match="no labels"):
        list(import_masks(session, tiff(tmp_path, masks), one_class=True))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_one_colour_is_one_class_and_more_are_asked_about(
    session: Session, tmp_path: Path, mode: str
) -> None:
    frames, height, width = session.shape
    grey = np.zeros((frames, height, width, len(mode)), np.uint8)
    grey[4, 10:20, 10:20] = 255
    (tmp_path / "grey").mkdir()
    list(import_masks(session, pictures(tmp_path / "grey", grey)))
    assert int(session.masks[4].sum()) == 100
    grey[4, 12, 12, 1] = 0  # one pixel is no grey
    (tmp_path / "colour").mkdir()
    with pytest.raises(MasksError, match="2 colours") as refused:
        list(import_masks(session, pictures(tmp_path / "colour", grey), overwrite=True))
    assert refused.value.one_class_helps and int(session.masks[4].sum()) == 100
    list(import_masks(session, tmp_path / "colour" / "in", overwrite=True, one_class=True))
    assert int(session.masks[4].sum()) == 100
    grey[4, 10:20, 10:20] = (0, 40, 0, 255)[: len(mode)]  # a dark green
    (tmp_path / "green").mkdir()
    list(import_masks(session, pictures(tmp_path / "green", grey), overwrite=True))
    assert session.masks[4].max() == 1 and int(session.masks[4].sum()) == 100


@pytest.mark.parametrize("category", [1.5, 1e30, "", True, None, [1]])
def test_categories_that_are_none(session: Session, tmp_path: Path, category: object) -> None:
    frames, height, width = session.shape
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    images = [{"id": t, "file_name": f"{t}.png", "height": height, "width": width} for t in range(frames)]
    drawn = [{"id": 1, "image_id": 4, "category_id": category, "segmentation": square}]
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"images": images, "annotations": drawn}))
    with pytest.raises(MasksError, match="no number and no name"):
        list(import_masks(session, path))
