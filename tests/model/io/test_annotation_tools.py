"""What labelme, CVAT, YOLO and 3D Slicer write comes in as it was drawn, or is refused with a sentence."""

from __future__ import annotations

import codecs
import gzip
import json
import tracemalloc
from pathlib import Path

import annotation_files as files
import nibabel
import numpy as np
import pytest
from annotation_files import CORNERS, FRAMES, LABELS, SIZE, WRITERS
from PIL import Image
from skimage.draw import disk, ellipse
from vivim import Session
from vivim.errors import MasksError
from vivim.io.import_masks import import_masks
from vivim.io.import_source import ReadOptions


def bring(session: Session, path: Path, **options) -> list[int]:
    return sorted(event.frame for event in import_masks(session, path, **options) if event.written)


def write(kind: str, folder: Path) -> Path:
    if "nrrd" in kind:
        pytest.importorskip("nrrd", reason="pynrrd is not installed: make brings it")
    name, writer = WRITERS[kind]
    return writer(folder / name)


@pytest.mark.parametrize("kind", WRITERS)
def test_masks_come_in_as_they_were_drawn(session: Session, tmp_path: Path, kind: str) -> None:
    path = write(kind, tmp_path)
    assert bring(session, path) == list(FRAMES)
    assert session.frames_with("corrected") == list(FRAMES) and session.classes == LABELS
    for t, mask in files.expected(("polygon",) if kind == "yolo" else ("polygon", "mask")).items():
        np.testing.assert_array_equal(np.asarray(session.masks[t]), mask, err_msg=f"{kind}, frame {t}")


@pytest.mark.parametrize("kind", WRITERS)
def test_frames_that_nobody_drew_on_come_in_only_when_asked_for(
    session: Session, tmp_path: Path, kind: str
) -> None:
    path = write(kind, tmp_path)
    listed = [*FRAMES, 7] if kind in ("labelme", "yolo") else list(range(12))
    assert bring(session, path, options=ReadOptions(include_empty=True)) == sorted(listed)
    assert not np.asarray(session.masks[7]).any()


@pytest.mark.parametrize("kind", WRITERS)
def test_classes_that_the_session_has_keep_their_numbers(session: Session, tmp_path: Path, kind: str) -> None:
    session.name_classes(["polyp"])
    bring(session, write(kind, tmp_path))
    assert session.classes == ("polyp", "adenoma")
    assert [int(session.masks[t].max()) for t in FRAMES[:2]] == [2, 1]


# -- labelme --------------------------------------------------------------------------------------------------------


def one(tmp_path: Path, shapes: list[dict], **parts) -> Path:
    return files.labelme_file(tmp_path / "frame_0003.json", 3, shapes, **parts)


def test_labelmes_boxes_and_circles_are_areas(session: Session, tmp_path: Path) -> None:
    shapes = [
        {"label": "a", "points": [[40, 30], [20, 10]], "shape_type": "rectangle"},
        {"label": "a", "points": [[60, 40], [60, 52]], "shape_type": "circle"},
        {"label": "a", "points": [[2, 2]], "shape_type": "point"},
    ]
    assert bring(session, one(tmp_path, shapes)) == [3]
    right = np.zeros(SIZE, np.uint8)
    right[10:30, 20:40] = 1
    right[disk((39.5, 59.5), 12.0, shape=SIZE)] = 1
    assert (
        np.count_nonzero(np.asarray(session.masks[3]) != right) <= 4
    )  # exactly on the edge, where disk is open


@pytest.mark.parametrize(
    "change", ["mark", "text numbers", "no path", "no sizes", "no type", "floats", "one file"]
)
def test_dialects_of_labelme(session: Session, tmp_path: Path, change: str) -> None:
    (shape,) = files.labelme_shapes(FRAMES[1] if change == "floats" else FRAMES[0])
    parts: dict = {}
    if change == "text numbers":
        shape["points"] = [[str(x), str(y)] for x, y in shape["points"]]
        parts = {"imageHeight": "72", "imageWidth": "88"}
    if change == "no path":
        parts = {"imagePath": "absent"}
    if change == "no sizes":
        parts = {"imageHeight": None, "imageWidth": "absent"}
    if change == "no type":
        del shape["shape_type"]
    if change == "floats":
        shape["points"] = [[float(x), float(y)] for x, y in shape["points"]]
    path = one(tmp_path, [shape], **parts)
    if change == "mark":
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert bring(session, path if change == "one file" else tmp_path) == [3]
    right = files.expected()[FRAMES[1] if change == "floats" else FRAMES[0]]
    np.testing.assert_array_equal(np.asarray(session.masks[3]) > 0, right > 0)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"shape_type": "linestrip"}, "covers no area"),
        ({"shape_type": "something new"}, "something new"),
        ({"label": None}, "no label"),
        ({"label": ""}, "no label"),
        ({"points": [[float("nan"), 1], [5, 5], [9, 1]]}, "no numbers"),
        ({"points": [[1, 1], [5, 5]]}, "three corners"),
        ({"points": []}, "three corners"),
        ({"points": [[500, 500], [510, 500], [510, 510]]}, "no pixel"),
        ({"shape_type": "mask", "mask": None, "points": [[1, 1], [5, 5]]}, "cannot be drawn"),
        (
            {"shape_type": "mask", "mask": files.png(files.bitmap()), "points": [[1, 1], [9, 9]]},
            "fill its box",
        ),
        ({"shape_type": "circle", "points": [[5, 5], [5, 5]]}, "no size"),
    ],
)
def test_shapes_of_labelme_that_cannot_be_drawn_are_told(
    session: Session, tmp_path: Path, shape: dict, says: str
) -> None:
    good = files.labelme_shapes(FRAMES[0])[0]
    one(tmp_path, [good | shape])
    with pytest.raises(MasksError, match=says):
        bring(session, tmp_path)
    assert session.frames_with("corrected") == []


def test_a_file_among_labelmes_that_is_none_is_named(session: Session, tmp_path: Path) -> None:
    files.write_labelme(tmp_path)
    (tmp_path / "frame_0011.json").write_text('{"version": "5.5.0"')
    with pytest.raises(MasksError, match=r"frame_0011\.json"):
        bring(session, tmp_path)
    (tmp_path / "frame_0011.json").write_text("")
    with pytest.raises(MasksError, match=r"frame_0011\.json"):
        bring(session, tmp_path)


def test_masks_of_another_size_and_files_where_nothing_is_drawn_are_refused(
    session: Session, tmp_path: Path
) -> None:
    path = one(tmp_path, files.labelme_shapes(FRAMES[0]), imageWidth=90)
    with pytest.raises(MasksError, match="90 x 72"):
        bring(session, path)
    path = one(tmp_path, files.labelme_shapes(FRAMES[0]), imageWidth=72, imageHeight=88)
    with pytest.raises(MasksError, match="72 x 88"):
        bring(session, path)
    with pytest.raises(MasksError, match="Nothing is drawn"):
        bring(session, one(tmp_path, [{"points": [[1, 1]], "shape_type": "point", "label": "a"}]))


def test_labelmes_background_is_no_class(session: Session, tmp_path: Path) -> None:
    good = files.labelme_shapes(FRAMES[0])[0]
    hole = good | {"label": "_background_", "points": [[20, 15], [28, 15], [28, 30], [20, 30]]}
    bring(session, one(tmp_path, [good, hole]))
    right = files.outline()
    right[15:30, 20:28] = False
    np.testing.assert_array_equal(np.asarray(session.masks[3]) > 0, right)
    assert session.classes == ("adenoma",)


def test_pictures_beside_another_json_file_are_still_masks(session: Session, tmp_path: Path) -> None:
    Image.fromarray(files.outline().astype(np.uint8) * 255).save(tmp_path / "frame_0004.png")
    (tmp_path / "about.json").write_text('{"made": "elsewhere"}')
    (tmp_path / "readme.txt").write_text("Masks of the first reader\n")
    assert bring(session, tmp_path) == [4]


# -- CVAT -----------------------------------------------------------------------------------------------------------


def cvat(tmp_path: Path, body: str, **more) -> Path:
    path = tmp_path / "annotations.xml"
    path.write_text(files.cvat_document(body, **more), encoding="utf-8")
    return path


def test_an_ellipse_of_cvat_lies_as_it_was_drawn(session: Session, tmp_path: Path) -> None:
    turned = '<ellipse label="polyp" cx="40" cy="36" rx="22.3" ry="9.1" rotation="30" z_order="0"/>'
    body = f'<image id="1" name="frame_000006" width="88" height="72">{turned}</image>'
    bring(session, cvat(tmp_path, body))
    right = np.zeros(SIZE, bool)
    right[ellipse(35.5, 39.5, 9.1, 22.3, shape=SIZE, rotation=-np.deg2rad(30))] = True
    assert np.array_equal(np.asarray(session.masks[6]) > 0, right)


def test_what_lies_partly_outside_the_picture_is_cut_off(session: Session, tmp_path: Path) -> None:
    mask = '<mask label="polyp" rle="0, 12" left="-2" top="70" width="4" height="3" z_order="0"/>'
    corners = [(-20, -20), (30, -20), (30, 30), (-20, 30)]
    shapes = mask + files.cvat_polygon('label="polyp"', corners)
    bring(session, cvat(tmp_path, f'<image id="1" name="frame_000006">{shapes}</image>'))
    right = np.zeros(SIZE, bool)
    right[70:, :2] = right[:30, :30] = True
    np.testing.assert_array_equal(np.asarray(session.masks[6]) > 0, right)


def test_shapes_higher_up_lie_above(session: Session, tmp_path: Path) -> None:
    shapes = "".join(
        files.cvat_polygon(f'label="{name}"').replace('z_order="0"', f'z_order="{z}"')
        for name, z in (("polyp", 4), ("adenoma", -1))
    )
    bring(session, cvat(tmp_path, f'<image id="1" name="frame_000006">{shapes}</image>'))
    assert np.unique(session.masks[6]).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            '<image id="0" name="frame_1"><box label="polyp" xtl="1" ytl="1" xbr="9" ybr="9"/></image>',
            "box is no mask",
        ),
        (
            '<track label="polyp"><box frame="1" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"/></track>',
            "box is no mask",
        ),
        ('<image id="0" name="frame_1"><polyline label="polyp" points="1,1;2,2;3,3"/></image>', "polyline"),
        ('<image id="0" name="frame_1"><polygon label="wart" points="1,1;9,1;9,9"/></image>', "'wart'"),
        ('<track label="polyp"><polygon frame="12" points="1,1;9,1;9,9"/></track>', "frame 12"),
        (f'<image id="0" name="frame_1" width="90" height="72">{files.cvat_polygon()}</image>', "90 x 72"),
        (
            '<image id="0" name="frame_1"><polygon label="polyp" points="1,1;nan,2;3,3"/></image>',
            "no numbers",
        ),
        (
            '<image id="0" name="frame_1"><polygon label="polyp" points=""/></image>',
            "frame 1 cannot be drawn",
        ),
        (
            '<image id="0" name="frame_1"><mask label="polyp" rle="9999999999" left="0" top="0" width="99999" '
            'height="99999"/></image>',
            "none of this video",
        ),
        (
            '<image id="0" name="frame_1"><mask label="polyp" rle="1, 2" left="0" top="0" width="3" height="3"/>'
            "</image>",
            "do not fill",
        ),
        ('<image id="0" name="frame_1"></image>', "Nothing is drawn"),
        ("", "Nothing is drawn"),
    ],
)
def test_what_cvat_has_that_is_no_mask_is_told(
    session: Session, tmp_path: Path, body: str, says: str
) -> None:
    with pytest.raises(MasksError, match=says):
        bring(session, cvat(tmp_path, body))
    assert session.frames_with("corrected") == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_xml_file_that_defines_entities_is_refused_before_they_are_expanded(
    session: Session, tmp_path: Path, encoding: str
) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 40}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>{bomb}]><annotations>&i;</annotations>'
    (tmp_path / "in.xml").write_text(text, encoding=encoding)
    with pytest.raises(MasksError, match="document type"):
        bring(session, tmp_path / "in.xml")
    outside = '<!DOCTYPE annotations SYSTEM "file:///etc/hostname"><annotations/>'
    (tmp_path / "in.xml").write_text(outside)
    with pytest.raises(MasksError, match="document type"):
        bring(session, tmp_path / "in.xml")


def test_a_project_of_several_videos_and_other_xml_are_refused(session: Session, tmp_path: Path) -> None:
    path = files.write_cvat_video(tmp_path / "in.xml")
    text = path.read_text()
    task = text[text.index("<task>") : text.index("</task>")] + "</task>"
    path.write_text(text.replace(task, f"<project><tasks>{task}{task}</tasks></project>"))
    with pytest.raises(MasksError, match="several tasks"):
        bring(session, path)
    path.write_text("<annotation><filename>a.jpg</filename></annotation>")
    with pytest.raises(MasksError, match="no XML of CVAT"):
        bring(session, path)


# -- YOLO -----------------------------------------------------------------------------------------------------------


def texts(folder: Path, line: str, t: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"frame_{t:04d}.txt").write_text(line)
    return folder


def test_a_class_of_yolo_has_the_same_number_in_every_file_of_a_project(
    session: Session, tmp_path: Path
) -> None:
    for number, t in ((1, 4), (0, 5), (2, 6)):
        bring(session, texts(tmp_path / f"part{t}", files.yolo_line(number, CORNERS), t))
        assert session.masks[t].max() == number + 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names:\n  1: polyp\n  0: adenoma\n"),
        ("data.yaml", "\ufeffnames: ['adenoma', \"polyp\"]\n"),
        ("classes.txt", "adenoma\npolyp\n"),
    ],
)
def test_names_of_classes_lie_beside_the_texts(
    session: Session, tmp_path: Path, name: str, text: str
) -> None:
    folder = texts(tmp_path, files.yolo_line("1.0", CORNERS))
    (folder / name).write_text(text, encoding="utf-8")
    bring(session, folder)
    assert session.classes == ("adenoma", "polyp") and session.masks[4].max() == 2
    texts(folder, files.yolo_line(7, CORNERS))
    with pytest.raises(MasksError, match="'7'"):
        bring(session, folder, overwrite=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.2 0.2", "box is no mask"),
        ("0 0.5 0.5 0.2 0.2 0.97", "box is no mask"),
        (files.yolo_line(0, CORNERS) + " 0.97", "how sure"),
        (files.yolo_line("0 1952", CORNERS), "no class"),  # a number of the object, as some write
        (f"{files.yolo_line(0, CORNERS)}\n0 0.5 0.5 0.2 0.2", "1 of 2 annotations"),
        (files.yolo_line(-1, CORNERS), "no class"),
        (files.yolo_line(0.5, CORNERS), "no class"),
        (files.yolo_line(0, [(x * 88, y * 72) for x, y in CORNERS]), "fractions"),
        (files.yolo_line(0, [(float("nan"), 3), *CORNERS]), "fractions"),
        (files.yolo_line("polyp", CORNERS), "There are no pictures"),
        (files.yolo_line(0, CORNERS) + "\npolyp 1 2", "Line 2"),
        ("", "Nothing is drawn"),
        (files.yolo_line(300, CORNERS), "301 labels"),
    ],
)
def test_what_yolo_has_that_is_no_mask_is_told(
    session: Session, tmp_path: Path, line: str, says: str
) -> None:
    with pytest.raises(MasksError, match=says):
        bring(session, texts(tmp_path, line))
    assert session.frames_with("corrected") == []


# -- 3D Slicer ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nrrd():
    return pytest.importorskip("nrrd", reason="pynrrd is not installed: make brings it")


@pytest.mark.parametrize("kind", ["raw", "no layers said", "other order", "CRLF", "16 bits, big"])
def test_dialects_of_segmentations(session: Session, tmp_path: Path, nrrd, kind: str) -> None:
    path = tmp_path / "in.seg.nrrd"
    if kind == "raw":
        files.write_segmentation(path, encoding="raw")
    if kind == "no layers said":  # before version 4.11
        keys = {f"Segment{n}_{key}": None for n in (0, 1) for key in ("Layer", "LabelValue")}
        files.write_segmentation(path, layers=True, **keys)
    if kind == "other order":
        files.write_segmentation(path)
        values, header = nrrd.read(str(path))
        nrrd.write(str(path), values, dict(reversed(header.items())))
    if kind == "CRLF":
        files.write_segmentation(path)
        head, _, data = path.read_bytes().partition(b"\n\n")
        path.write_bytes(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + data)
    if kind == "16 bits, big":
        files.write_segmentation(path)
        values, header = nrrd.read(str(path))
        header |= {"type": "short", "endian": "big"}
        nrrd.write(str(path), values.astype(">i2"), header)
    assert bring(session, path) == list(FRAMES)
    for t, mask in files.expected().items():
        np.testing.assert_array_equal(np.asarray(session.masks[t]), mask)


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1), (1, -1, -1)])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("cropped", [False, True])
def test_a_segmentation_lands_on_the_lesion_of_a_nifti_video(
    tmp_path: Path, nrrd, axes: tuple[int, int, int], swapped: bool, cropped: bool
) -> None:
    """Stored in any order of its axes, whole or cut to the segments; where it lies is worked out pixel by pixel."""
    affine = np.array([[-0.4, 0.03, 0, 1], [0.03, 0.4, 0, 2], [0, 0, 1.5, 7], [0, 0, 0, 1.0]])
    video = np.random.default_rng(0).integers(0, 255, (40, 30, 5)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(video, affine), tmp_path / "video.nii.gz")
    masks = np.zeros((40, 30, 5), np.uint8)
    for t in range(1, 4):
        masks[3 + t : 12, 4:9, t] = 1
    part, first = (masks[2:15, 3:20, 1:4], (2, 3, 1)) if cropped else (masks, (0, 0, 0))
    columns = affine[:3, :3].copy()
    origin = affine[:3, :3] @ first + affine[:3, 3]
    for axis, sign in enumerate(axes):
        if sign < 0:
            part = np.flip(part, axis)
            origin = origin + columns[:, axis] * (part.shape[axis] - 1)
            columns[:, axis] *= -1
    if swapped:
        part, columns = part.transpose(1, 0, 2), columns[:, [1, 0, 2]]
    to_left = np.diag([-1, -1, 1])
    header = {"space": "left-posterior-superior", "space directions": (to_left @ columns).T}
    header |= {"space origin": to_left @ origin, "Segment0_ID": "a", "Segment0_LabelValue": "1"}
    nrrd.write(str(tmp_path / "in.seg.nrrd"), part, header)
    with Session.open(tmp_path / "video.nii.gz") as session:
        assert bring(session, tmp_path / "in.seg.nrrd") == [1, 2, 3]
        np.testing.assert_array_equal(np.asarray(session.masks), masks.T)
        header["space origin"] = to_left @ (origin + 9)
        nrrd.write(str(tmp_path / "in.seg.nrrd"), part, header)
        with pytest.raises(MasksError, match="elsewhere"):
            bring(session, tmp_path / "in.seg.nrrd", overwrite=True)


def test_a_cropped_segmentation_lies_where_slicer_says(session: Session, tmp_path: Path, nrrd) -> None:
    mask = np.zeros((12, *SIZE), np.uint8)
    mask[3:6, 20:31, 40:53] = 1
    mask[4, 22, 41] = 0
    geometry = ";".join(["1", "0", "0", "0"] * 4 + ["0", "87", "0", "71", "0", "11"])
    header = {
        "Segment0_ID": "a",
        "Segment0_LabelValue": "1",
        "Segmentation_ReferenceImageExtentOffset": "40 20 3",
        "Segmentation_ConversionParameters": f"Smoothing factor|0.5|x&Reference image geometry|{geometry};|y&",
    }
    path = tmp_path / "in.seg.nrrd"
    nrrd.write(str(path), mask[3:6, 20:31, 40:53].T, header)
    assert bring(session, path) == [3, 4, 5]
    np.testing.assert_array_equal(np.asarray(session.masks), mask)
    header["Segmentation_ReferenceImageExtentOffset"] = "80 20 3"
    nrrd.write(str(path), mask[3:6, 20:31, 40:53].T, header)
    with pytest.raises(MasksError, match="elsewhere"):
        bring(session, path, overwrite=True)
    del header["Segmentation_ConversionParameters"]
    nrrd.write(str(path), mask[3:6, 20:31, 40:53].T, header)
    with pytest.raises(MasksError, match="13 x 11"):
        bring(session, path, overwrite=True)


def test_a_segmentation_that_is_larger_than_the_picture_keeps_what_lies_on_it(
    session: Session, tmp_path: Path, nrrd
) -> None:
    """Slicer saves a grid that holds all segments, also those beyond its picture."""
    stack = np.zeros((14, 80, 96), np.uint8)
    stack[5, 30:40, 20:31] = 1
    geometry = ";".join(["1", "0", "0", "0"] * 4 + ["0", "87", "0", "71", "0", "11"])
    header = {
        "Segment0_ID": "a",
        "Segment0_LabelValue": "1",
        "Segmentation_ReferenceImageExtentOffset": "-4 -6 -1",
        "Segmentation_ConversionParameters": f"Reference image geometry|{geometry};|y&",
    }
    nrrd.write(str(tmp_path / "in.seg.nrrd"), stack.T, header)
    assert bring(session, tmp_path / "in.seg.nrrd") == [4]
    right = np.zeros(SIZE, bool)
    right[24:34, 16:27] = True
    np.testing.assert_array_equal(np.asarray(session.masks[4]) > 0, right)
    stack[5, 0, 0] = 1
    nrrd.write(str(tmp_path / "in.seg.nrrd"), stack.T, header)
    with pytest.raises(MasksError, match="elsewhere"):
        bring(session, tmp_path / "in.seg.nrrd", overwrite=True)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"Segment1_LabelValue": "5"}, "value 6"),
        ({"Segment1_LabelValue": "3"}, "share a value"),
        ({"Segment1_Layer": "4"}, "layer is missing"),
        ({"Segmentation_MasterRepresentation": "Fractional labelmap"}, "fractions"),
        ({"encoding": "bzip2"}, "another kind"),
        ({"encoding": "ascii"}, "another kind"),
    ],
)
def test_segmentations_that_do_not_say_what_they_hold_are_told(
    session: Session, tmp_path: Path, nrrd, header: dict, says: str
) -> None:
    with pytest.raises(MasksError, match=says):
        bring(session, files.write_segmentation(tmp_path / "in.seg.nrrd", **header))
    assert session.frames_with("corrected") == []


def test_a_segmentation_never_reads_another_file(session: Session, tmp_path: Path, nrrd) -> None:
    path = files.write_segmentation(tmp_path / "in.seg.nrrd", encoding="raw")
    head, _, data = path.read_bytes().partition(b"\n\n")
    (tmp_path / "elsewhere.raw").write_bytes(data)
    path.write_bytes(head + b"\ndata file: elsewhere.raw\n\n" + data)
    with pytest.raises(MasksError, match="another kind"):
        bring(session, path)


def test_a_segmentation_without_segments_is_refused(session: Session, tmp_path: Path, nrrd) -> None:
    nrrd.write(str(tmp_path / "in.seg.nrrd"), np.ones((88, 72, 12), np.uint8))
    with pytest.raises(MasksError, match="lists no segments"):
        bring(session, tmp_path / "in.seg.nrrd")
    (tmp_path / "in.seg.nrrd").rename(tmp_path / "in.nrrd")
    with pytest.raises(MasksError, match=r"\.seg\.nrrd"):
        bring(session, tmp_path / "in.nrrd")


def test_a_segmentation_that_unpacks_to_gigabytes_is_read_no_further_than_it_says(
    session: Session, tmp_path: Path, nrrd
) -> None:
    path = files.write_segmentation(tmp_path / "in.seg.nrrd")
    head, _, data = path.read_bytes().partition(b"\n\n")
    values = gzip.decompress(data)
    path.write_bytes(head + b"\n\n" + gzip.compress(values + bytes(10**8), 1))
    tracemalloc.start()
    assert bring(session, path) == list(FRAMES)
    assert tracemalloc.get_traced_memory()[1] < 5 * 10**7
    tracemalloc.stop()


# -- all ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a.txt", "a.seg.nrrd"])
@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"[]", b"null", json.dumps({"shapes": {}}).encode()])
def test_files_that_hold_nothing_are_refused(
    session: Session, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MasksError, match=r"\w+ \w+"):
        bring(session, tmp_path / name)
    assert session.frames_with("corrected") == []
