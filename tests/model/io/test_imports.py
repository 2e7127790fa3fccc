"""Masks made elsewhere come in whole, through the gate, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import binary_fill_holes
from vivim import Session, cli
from vivim.errors import MasksError, VivimError
from vivim.imaging.lesion_tracking import Lesions
from vivim.io.export import export
from vivim.io.formats.coco import filled, outline
from vivim.io.import_masks import import_masks
from vivim.io.import_source import ReadOptions


def labels_of(shape: tuple[int, int, int]) -> np.ndarray:
    """Two classes that touch, and a frame without anything."""
    labels = np.zeros(shape, np.uint8)
    for t in range(shape[0]):
        labels[t, 10 + t : 30, 20:41] = 1
        labels[t, 10:30, 41 : 50 + t] = 2
    labels[5] = 0
    return labels


def pictures(folder: Path, masks: np.ndarray, name: Callable[[int], str] = "{:04d}.png".format) -> Path:
    folder.mkdir()
    for t, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / name(t))
    return folder


def write_nifti(path: Path, labels: np.ndarray) -> Path:
    nibabel.Nifti1Image(labels.transpose(*range(labels.ndim)[::-1]), np.eye(4)).to_filename(path)
    return path


def write_tiff(path: Path, labels: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, labels, **options)
    return path


def write_coco(path: Path, labels: np.ndarray, kind: str) -> Path:
    images, annotations = [], []
    for t, mask in enumerate(labels):
        images.append(
            {"id": 100 + t, "file_name": f"scan_{t}.jpg", "height": mask.shape[0], "width": mask.shape[1]}
        )
        for category in np.unique(mask[mask > 0]):
            rle = coco_mask.encode(np.asfortranarray((mask == category).astype(np.uint8)))
            segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
            if kind == "runs":
                flat = (mask == category).ravel(order="F")
                edges = np.flatnonzero(np.diff(flat)) + 1
                counts = np.diff([0, *edges, len(flat)]).tolist()
                segmentation = {"size": rle["size"], "counts": counts}
            if kind == "polygons":
                rows, columns = np.nonzero(mask == category)
                top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
                segmentation = [[int(v) for v in (left, top, right, top, right, bottom, left, bottom)]]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 100 + t,
                    "category_id": int(category),
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


WRITERS = {
    "pictures": lambda folder, labels: pictures(folder / "in", labels),
    "unpadded names": lambda folder, labels: pictures(folder / "in", labels, "mask{}.png".format),
    "numbered from 1": lambda folder, labels: pictures(folder / "in", labels, lambda t: f"{t + 1:03d}.bmp"),
    "tiff": lambda folder, labels: write_tiff(folder / "in.tif", labels, imagej=True),
    "compressed 16-bit tiff": lambda folder, labels: write_tiff(
        folder / "in.tiff", labels.astype(">u2"), compression="zlib", byteorder=">"
    ),
    "big-endian tiff": lambda folder, labels: write_tiff(folder / "in.tiff", labels.astype(np.uint16), byteorder=">"),
    "ome": lambda folder, labels: write_tiff(
        folder / "in.ome.tif", labels[:, None], ome=True, metadata={"axes": "TCYX"}
    ),
    "nifti of 3 axes": lambda folder, labels: write_nifti(folder / "in.nii.gz", labels),
    "nifti of 4 axes and floats": lambda folder, labels: write_nifti(
        folder / "in.nii", labels[:, None].astype(np.float32)
    ),
    "coco": lambda folder, labels: write_coco(folder / "in.json", labels, "packed"),
    "coco of plain runs": lambda folder, labels: write_coco(folder / "in.json", labels, "runs"),
    "coco of polygons": lambda folder, labels: write_coco(folder / "in.json", labels, "polygons"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("status", ["corrected", "proposed"])
def test_labels_of_every_kind_come_in_pixel_for_pixel(
    session: Session, tmp_path: Path, kind: str, status: str
) -> None:
    labels = labels_of(session.shape)
    options = ReadOptions(include_empty=True)  # of the frame without anything COCO has no annotation
    events = list(import_masks(session, WRITERS[kind](tmp_path, labels), status, options=options))
    assert [(e.stage, e.frame) for e in events] == [
        (stage, t) for stage in ("check", "write") for t in range(len(session))
    ]
    np.testing.assert_array_equal(np.asarray(session.masks), labels)
    assert session.frames_with(status) == list(range(len(session)))


@pytest.mark.parametrize(
    "name", ["png", "palette", "tiff", "ome-tiff", "coco", "nifti", "dataset", "youtube-vos"]
)
def test_what_was_exported_comes_back(session: Session, sample, tmp_path: Path, name: str) -> None:
    labels = labels_of(session.shape)
    for t, mask in enumerate(labels):
        session.correct(t, mask)
    (*_, last) = export(session, tmp_path, [name])
    path = next((last.path / "Annotations").iterdir()) if name == "youtube-vos" else last.path
    with Session.open(sample.video, folder=tmp_path / "other.vivim") as other:
        list(import_masks(other, path))
        kept = name in ("tiff", "ome-tiff", "coco", "nifti")
        np.testing.assert_array_equal(np.asarray(other.masks), labels if kept else labels > 0)


def test_fewer_masks_go_where_their_names_say_and_the_rest_stays(session: Session, sample, tmp_path) -> None:
    folder = pictures(tmp_path / "in", sample.masks[:3] * np.uint8(255), lambda t: f"{3 * t:06d}.png")
    events = list(import_masks(session, folder, "proposed"))
    assert [e.frame for e in events if e.written] == [0, 3, 6]
    assert session.frames_with("proposed") == [0, 3, 6]
    np.testing.assert_array_equal(session.masks[6], sample.masks[2])
    assert {e.author for e in session.entries()} == {"imported"}


@pytest.mark.parametrize("status", ["corrected", "proposed"])
def test_a_persons_frames_are_left_alone_unless_asked(session: Session, tmp_path: Path, status: str) -> None:
    labels, drawn = labels_of(session.shape), np.ones(session.shape[1:], np.uint8)
    session.correct(2, drawn)
    session.propose(3, drawn, "v1")
    session.accept(3)
    session.propose(4, drawn, "v1")
    folder = pictures(tmp_path / "in", labels)
    events = list(import_masks(session, folder, status))
    assert [e.frame for e in events if e.stage == "write" and not e.written] == [2, 3]
    np.testing.assert_array_equal(session.masks[2], drawn)
    np.testing.assert_array_equal(session.masks[3], drawn)
    np.testing.assert_array_equal(session.masks[4], labels[4])
    assert (session.status(2), session.status(3)) == ("corrected", "accepted")
    list(import_masks(session, folder, status, overwrite=True))
    np.testing.assert_array_equal(np.asarray(session.masks), labels)
    assert session.frames_with(status) == list(range(len(session)))


def bad_masks() -> dict[str, Callable[[Path, np.ndarray], Path]]:
    """Masks that do not fit or are damaged, each with a word of what is said about them."""

    def odd_one(folder: Path, labels: np.ndarray) -> Path:
        place = pictures(folder / "in", labels)
        Image.fromarray(labels[0, :10, :20]).save(place / "0011.png")
        return place

    def cut(folder: Path, labels: np.ndarray) -> Path:
        place = pictures(folder / "in", np.random.default_rng(0).integers(0, 15, labels.shape, np.uint8))
        (place / "0011.png").write_bytes((place / "0011.png").read_bytes()[:900])
        return place

    def short_runs(folder: Path, labels: np.ndarray) -> Path:
        path = write_coco(folder / "in.json", labels, "runs")
        content = json.loads(path.read_text())
        content["annotations"][-1]["segmentation"]["counts"].pop()
        path.write_text(json.dumps(content))
        return path

    def truncated_nifti(folder: Path, labels: np.ndarray) -> Path:
        path = write_nifti(folder / "in.nii", labels)
        path.write_bytes(path.read_bytes()[:-5000])
        return path

    return {
        "are 20 x 10 pixels": odd_one,
        "cannot be read as masks": cut,
        "runs of a mask do not fill": short_runs,
        "in.nii cannot be read": truncated_nifti,
        "There are 11 masks, but the video has 12": lambda f, m: write_tiff(f / "in.tif", m[:11]),
        "There are 13 masks": lambda f, m: write_nifti(f / "in.nii", np.concatenate([m, m[:1]])),
        "There are 2 masks": lambda f, m: pictures(f / "in", m[:2], lambda t: "ab"[t] + ".png"),
        "count to frame 92": lambda f, m: pictures(f / "in", m[:3], lambda t: f"{90 + t}.png"),
        "are 72 x 88 pixels": lambda f, m: write_tiff(f / "in.tif", m.transpose(0, 2, 1).copy()),
        "are 72 x 88 pixels, but": lambda f, m: write_coco(f / "in.json", m.transpose(0, 2, 1).copy(), "packed"),
        "as one class. If they are classes": lambda f, m: pictures(f / "in", m * np.uint8(60)),
        "values that are no labels": lambda f, m: write_tiff(f / "in.tif", m * np.float32(0.3)),
        "no pictures in": lambda f, m: pictures(f / "in", m[:0]),
        "is not there": lambda f, m: f / "absent",
        "no kind of masks": lambda f, m: write_tiff(f / "in.xyz", m),
        "neither COCO nor labelme": lambda f, m: (f / "in.json", (f / "in.json").write_text("{}"))[0],
        "in.json cannot be read": lambda f, m: (f / "in.json", (f / "in.json").write_text("{" * 5000))[0],
        "in.tif cannot be read": lambda f, m: (f / "in.tif", (f / "in.tif").write_bytes(b"II*\0abc"))[0],
    }  # fmt: skip


@pytest.mark.parametrize("says", bad_masks())
def test_what_does_not_fit_is_refused_and_nothing_changes(sample, tmp_path: Path, says: str) -> None:
    path = bad_masks()[says](tmp_path, labels_of(sample.masks.shape))
    with Session.open(sample.video, lazy=True) as session:
        with pytest.raises(MasksError, match=says) as caught:
            list(import_masks(session, path))
        assert isinstance(caught.value, VivimError) and str(caught.value).endswith(".")
        assert list(session.entries()) == []
        assert not session.folder.exists()


def test_masks_without_background_are_refused(session: Session, sample, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", sample.masks * np.uint8(200) + np.uint8(7))
    with pytest.raises(MasksError, match="background"):
        list(import_masks(session, folder, one_class=True))
    assert session.frames_with("corrected") == []


def test_an_unknown_status_is_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(MasksError, match="Choose one of corrected, proposed"):
        next(import_masks(session, tmp_path, "accepted"))


def test_command_line(sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", str(sample.video), str(sample.clip / "masks"), "--json"]
    assert cli.main([*words, "--as", "proposed"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["written"], result["left"]) == (list(range(12)), [])
    with Session.open(result["session"]) as session:
        session.accept(3)
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["left"] == [3]
    assert cli.main(["import", str(sample.video), str(sample.clip), "--overwrite"]) == 0
    assert "12 frames corrected" in capsys.readouterr().out
    with Session.open(result["session"], read_only=True) as session:
        np.testing.assert_array_equal(np.asarray(session.masks), sample.masks)
        assert session.frames_with("corrected") == list(range(12))


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, (11, 13), elements=st.integers(0, 1)))
def test_outlines_come_back_pixel_for_pixel(mask: np.ndarray) -> None:
    for lesion in Lesions(mask[None]).of(0):
        points = np.array(outline(lesion)).reshape(-1, 2)
        np.testing.assert_array_equal(filled(points, mask.shape), binary_fill_holes(lesion.mask(mask.shape)))


def test_polygons_beyond_the_picture_are_cut_and_endless_ones_refused() -> None:
    triangle = np.array([(-1e9, -1e9), (1e9, -1e9), (0, 1e9)])
    assert filled(triangle, (20, 30)).all()
    with pytest.raises(ValueError, match="too long"):
        filled(np.tile([(0.0, 0.0), (5.0, 1080.0)], (40000, 1)), (1080, 1920))
    with pytest.raises(ValueError, match="no numbers"):
        filled(np.array([(0, 0), (np.nan, 1), (2, 2)]), (20, 30))
