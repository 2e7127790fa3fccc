"""Masks as annotation tools write them: names of pictures, categories, boxes, and pictures that nobody annotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from vivim import Session
from vivim.errors import MasksError
from vivim.evaluation import evaluate
from vivim.imaging.mask_files import read_mask_picture
from vivim.io.export import export
from vivim.io.import_masks import import_masks
from vivim.io.import_source import ReadOptions, frames_of
from vivim.training.datasets import read_pair

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def coco(path: Path, session: Session, drawn: list[dict], **parts: Any) -> Path:
    """A file that lists every frame, with some annotations; parts take the place of what it has."""
    height, width = session.shape[1:]
    images = [
        {"id": t, "file_name": f"f_{t:06d}.png", "height": height, "width": width}
        for t in range(len(session))
    ]
    content = {
        "images": images,
        "annotations": [{"segmentation": SQUARE, **entry} for entry in drawn],
        **parts,
    }
    path.write_text(json.dumps(content), encoding=parts.pop("encoding", "utf-8"))
    return path


def bring(session: Session, path: Path, **options: Any) -> list[int]:
    return [event.frame for event in import_masks(session, path, **options) if event.written]


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (["v_mp4-0004_jpg.rf.a1f09c3d5e7b2c", "v_mp4-0011_jpg.rf.b7e0d91c4f8a6"], [4, 11]),
        (["v_mp4-0004_jpg.rf.a1f09c3d5e7b2c"], [4]),
        (["frame0012_annotator1", "frame0020_annotator2"], [12, 20]),
        (["frame0012_annotator1"], [12]),
        (["a1b2c3d4-img_7", "00ff00ff-img_19"], [7, 19]),
        (["case3_frame_2_v2", "case3_frame_9_v2"], [2, 9]),
        (["p12 t=4", "p12 t=8"], [4, 8]),
        (["2_0007", "1_0008"], [7, 8]),
        (["0007_7", "0009_9"], [7, 9]),
        (["5"], [5]),
    ],
)
def test_a_frames_number_is_the_group_that_counts(names: list[str], frames: list[int]) -> None:
    assert frames_of(names, 30, ReadOptions()) == frames


def test_a_name_that_can_be_read_in_two_ways_is_asked_about() -> None:
    with pytest.raises(MasksError, match=r"Which number .*7 \(1\), 2 \(2\).*--number-group"):
        frames_of(["7-2", "8-1"], 30, ReadOptions())
    assert frames_of(["7-2", "8-1"], 30, ReadOptions(number_group=1)) == [7, 8]
    assert frames_of(["7-2", "8-1"], 30, ReadOptions(number_group=2, first_number=1)) == [1, 0]
    with pytest.raises(MasksError, match="Which number"):
        frames_of(["1-2", "2-1"], 2, ReadOptions())


def test_pictures_named_by_other_tools_land_on_their_frames(session: Session, sample, tmp_path: Path) -> None:
    for t in (4, 11):
        Image.fromarray(sample.masks[t] * np.uint8(255)).save(
            tmp_path / f"v_mp4-{t:04d}_jpg.rf.{'a1b2c3d4' * t}.png"
        )
        (tmp_path / f"._v_mp4-{t:04d}.png").write_bytes(b"\0\5\26\7")  # as macOS leaves beside files
    assert bring(session, tmp_path) == [4, 11]
    np.testing.assert_array_equal(session.masks[11], sample.masks[11])


def test_instances_and_any_label_are_lesions_where_one_class_is_asked_for(
    session: Session, tmp_path: Path
) -> None:
    labels = np.zeros(session.shape, np.uint16)
    labels[:, 10:20, 10:20] = 1
    labels[7, 30:40, 30:40] = 40
    tifffile.imwrite(tmp_path / "in.tif", labels)
    with pytest.raises(MasksError, match=r"40.*as one class.*--as-classes") as refused:
        bring(session, tmp_path / "in.tif")
    assert refused.value.one_class_helps
    bring(session, tmp_path / "in.tif", one_class=True)
    np.testing.assert_array_equal(np.asarray(session.masks), labels > 0)
    bring(session, tmp_path / "in.tif", as_classes=True, overwrite=True)
    np.testing.assert_array_equal(np.asarray(session.masks), labels)


@pytest.mark.parametrize("name", ["coco", "tiff", "ome-tiff", "nifti"])
def test_class_20_comes_back_as_class_20(session: Session, sample, tmp_path: Path, name: str) -> None:
    for t in range(len(session)):
        session.correct(t, sample.masks[t] * np.uint8(20 if t % 2 else 3))
    (*_, last) = export(session, tmp_path, [name])
    with Session.open(sample.video, folder=tmp_path / "other.vivim") as other:
        bring(other, last.path)
        np.testing.assert_array_equal(np.asarray(other.masks), np.asarray(session.masks))


def test_categories_are_classes_in_the_order_of_the_files_list(session: Session, tmp_path: Path) -> None:
    listed = [{"id": 2, "name": "c"}, {"id": 0, "name": "a"}, {"id": 1, "name": "b"}]
    for used in ((0, 2), (1, 2)):
        drawn = [{"image_id": t, "category_id": category} for t, category in enumerate(used)]
        bring(session, coco(tmp_path / "in.json", session, drawn, categories=listed), overwrite=True)
        assert [int(session.masks[t].max()) for t in range(2)] == [category + 1 for category in used]
    assert session.classes == ("a", "b", "c")
    file = coco(
        tmp_path / "in.json",
        session,
        [{"image_id": 3, "category_id": 9}],
        categories=[{"id": 9, "name": "b"}],
    )
    bring(session, file)
    assert session.masks[3].max() == 2 and session.classes == ("a", "b", "c")
    file = coco(
        tmp_path / "in.json",
        session,
        [{"image_id": 4, "category_id": 9}],
        categories=[{"id": 9, "name": "d"}],
    )
    bring(session, file)
    assert session.masks[4].max() == 4 and session.classes == ("a", "b", "c", "d")


def test_a_single_category_of_any_number_is_class_1(session: Session, tmp_path: Path) -> None:
    drawn = [{"image_id": 0, "category_id": 18}]
    bring(session, coco(tmp_path / "in.json", session, drawn, categories=[{"id": 18, "name": "polyp"}]))
    assert session.masks[0].max() == 1 and session.classes == ("polyp",)


def test_a_category_that_is_only_the_parent_of_others_is_no_class(session: Session, tmp_path: Path) -> None:
    listed = [
        {"id": 0, "name": "lesions", "supercategory": "none"},
        {"id": 1, "name": "polyp", "supercategory": "lesions"},
    ]
    bring(
        session, coco(tmp_path / "in.json", session, [{"image_id": 0, "category_id": 1}], categories=listed)
    )
    assert session.masks[0].max() == 1 and session.classes == ("polyp",)


def test_pictures_that_nobody_annotated_are_left_alone_unless_asked(session: Session, tmp_path: Path) -> None:
    file = coco(tmp_path / "in.json", session, [{"image_id": t, "category_id": 1} for t in (3, 5)])
    assert bring(session, file) == [3, 5]
    assert session.frames_with("corrected") == [3, 5]
    assert len(bring(session, file, options=ReadOptions(include_empty=True), overwrite=True)) == len(session)


def test_a_frame_that_a_person_left_empty_comes_back_empty(session: Session, sample, tmp_path: Path) -> None:
    session.correct(2, np.zeros(session.shape[1:], np.uint8))
    session.correct(4, sample.masks[4])
    session.propose(6, np.zeros(session.shape[1:], np.uint8), "v1")
    (*_, last) = export(session, tmp_path, ["coco"])
    with Session.open(sample.video, folder=tmp_path / "other.vivim") as other:
        assert bring(other, last.path) == [2, 4]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"image_id": 5, "category_id": 1, "segmentation": [], "bbox": [1, 2, 3, 4]}, "box is no mask"),
        ({"image_id": 5, "category_id": 1, "segmentation": None}, "no outline"),
        ({"image_id": 99, "category_id": 1}, "does not list"),
        ({"image_id": 5, "category_id": 7}, "category '7'"),
        ({"image_id": 5, "category_id": 1, "segmentation": [[500, 500, 510, 500, 510, 510]]}, "no pixel"),
        ({"image_id": 5, "category_id": 1, "segmentation": [[1, 2, 3, 4]]}, "three corners"),
    ],
)
def test_nothing_drawn_is_not_drawn_empty(session: Session, tmp_path: Path, entry: dict, says: str) -> None:
    good = {"image_id": 2, "category_id": 1}
    listed = [{"id": 1, "name": "a"}]
    with pytest.raises(MasksError, match=says):
        bring(session, coco(tmp_path / "in.json", session, [good, entry], categories=listed))
    assert session.frames_with("corrected") == []


@pytest.mark.parametrize("kind", ["mark", "text ids", "url", "backslashes", "holes", "frame_index"])
def test_dialects_of_coco(session: Session, tmp_path: Path, kind: str) -> None:
    height, width = session.shape[1:]
    image: dict[str, Any] = {"id": 1, "file_name": "case/frame_000006.png", "height": height, "width": width}
    entry: dict[str, Any] = {"image_id": 1, "category_id": 1, "segmentation": SQUARE}
    area = 400
    if kind == "text ids":
        image["id"], entry["category_id"] = "1", "1"
    if kind == "url":
        image["file_name"] = "upload%2Fframe%5F000006.png"
    if kind == "backslashes":
        image["file_name"] = "C:\\case 12\\frame_000006.png"
    if kind == "holes":
        entry["segmentation"] = {
            "exterior": [[10, 10], [30, 10], [30, 30], [10, 30]],
            "interiors": [[[15, 15], [20, 15], [20, 20], [15, 20]]],
        }
        area -= 25
    if kind == "frame_index":
        image |= {"file_name": "x.png", "frame_index": 6}
    content = {"images": [image], "annotations": [entry], "categories": [{"id": 1, "name": "a"}]}
    path = tmp_path / "in.json"
    path.write_text(json.dumps(content), encoding="utf-8-sig" if kind == "mark" else "utf-8")
    assert bring(session, path) == [6]
    assert int(session.masks[6].sum()) == area


def test_lossy_masks_are_black_and_white_or_refused(session: Session, sample, tmp_path: Path) -> None:
    for t in (1, 2):
        Image.fromarray(sample.masks[t] * np.uint8(255)).save(tmp_path / f"{t:03d}.jpg", quality=95)
    assert bring(session, tmp_path) == [1, 2]
    assert np.count_nonzero(session.masks[1] != sample.masks[1]) < 40
    Image.fromarray(sample.masks[1] * np.uint8(130)).save(tmp_path / "001.jpg", quality=95)
    with pytest.raises(MasksError, match="JPEG cannot hold numbers"):
        bring(session, tmp_path, overwrite=True)


def test_transparent_pixels_are_background(tmp_path: Path) -> None:
    parts = np.full((6, 6, 4), 255, np.uint8)
    parts[:3, :, 3] = 0
    Image.fromarray(parts).save(tmp_path / "a.png")
    assert int((read_mask_picture(tmp_path / "a.png").values > 0).sum()) == 18


@pytest.mark.parametrize("value", [1, 40, 200, 255])
def test_scores_and_training_count_any_label_as_lesion(sample, value: int) -> None:
    for t, mask in enumerate(sample.masks):
        Image.fromarray(mask * np.uint8(value)).save(sample.clip / "masks" / f"{t:04d}.png")
    pair = (sample.clip / "frames" / "0003.png", sample.clip / "masks" / "0003.png")
    np.testing.assert_array_equal(read_pair(pair, None)[1], sample.masks[3])
    np.testing.assert_array_equal(evaluate._read(pair, None)[1], sample.masks[3])
