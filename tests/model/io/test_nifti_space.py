"""NIfTI masks lie on a NIfTI video as both affines say, however a tool has turned them."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from vivim import Session
from vivim.errors import MasksError
from vivim.io.export import export
from vivim.io.import_masks import import_masks

AFFINES = {
    "LPS": np.diag([-0.5, -0.5, 1.0, 1.0]),
    "RAS with an offset": np.array([[0.4, 0, 0, -12.5], [0, 0.4, 0, 7], [0, 0, 1, 3], [0, 0, 0, 1.0]]),
    "tilted": np.array([[-0.4, 0.03, 0, 1], [0.03, 0.4, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
}
TURNS = [
    (*((a, b) if straight else (b, a)), c)
    for a, b, c in itertools.product("LR", "AP", "SI")
    for straight in (True, False)
]


def stored() -> np.ndarray:
    """Masks ``(W, H, T)`` that no turn or mirror leaves as they are."""
    masks = np.zeros((40, 30, 5), np.uint8)
    for t in range(5):
        masks[3 + t : 12, 4:9, t] = 1
    return masks


@pytest.fixture(params=AFFINES)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    rng = np.random.default_rng(0)
    video = nibabel.Nifti1Image(rng.integers(0, 255, (40, 30, 5)).astype(np.uint8), AFFINES[request.param])
    nibabel.save(video, tmp_path / "video.nii.gz")
    with Session.open(tmp_path / "video.nii.gz") as opened:
        yield opened


def turned(masks: nibabel.Nifti1Image, codes: tuple[str, ...]) -> nibabel.Nifti1Image:
    return masks.as_reoriented(ornt_transform(io_orientation(masks.affine), axcodes2ornt(codes)))


def test_masks_turned_by_any_tool_land_on_the_lesion(session: Session, tmp_path: Path) -> None:
    affine = nibabel.load(session.video_path).affine
    for codes in TURNS:
        nibabel.save(turned(nibabel.Nifti1Image(stored(), affine), codes), tmp_path / "masks.nii.gz")
        list(import_masks(session, tmp_path / "masks.nii.gz", overwrite=True))
        np.testing.assert_array_equal(np.asarray(session.masks), stored().T, err_msg=str(codes))


def test_masks_that_say_nothing_of_space_stay_as_they_are_stored(session: Session, tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(stored(), np.eye(4)), tmp_path / "masks.nii")
    list(import_masks(session, tmp_path / "masks.nii"))
    np.testing.assert_array_equal(np.asarray(session.masks), stored().T)


def test_masks_that_lie_elsewhere_are_refused(session: Session, tmp_path: Path) -> None:
    affine = nibabel.load(session.video_path).affine.copy()
    affine[:3, 3] += 5
    nibabel.save(nibabel.Nifti1Image(stored(), affine), tmp_path / "masks.nii")
    with pytest.raises(MasksError, match="elsewhere in space"):
        list(import_masks(session, tmp_path / "masks.nii"))
    assert session.frames_with("corrected") == []


def test_an_export_lies_where_its_video_lies(session: Session, tmp_path: Path) -> None:
    for t, mask in enumerate(stored().T):
        session.correct(t, mask)
    (*_, last) = export(session, tmp_path / "out", ["nifti"])
    video, masks = nibabel.load(session.video_path), nibabel.load(last.path)
    assert masks.shape == video.shape and masks.header.get_zooms() == video.header.get_zooms()
    np.testing.assert_array_equal(masks.affine, video.affine)
    np.testing.assert_array_equal(np.asarray(masks.dataobj), stored())


def test_an_export_takes_no_texts_of_its_video_along(tmp_path: Path) -> None:
    video = nibabel.Nifti1Image(np.ones((40, 30, 5), np.uint8), AFFINES["LPS"])
    video.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"DOE^JANE " * 30))
    video.header["descrip"] = b"DOE^JANE"
    nibabel.save(video, tmp_path / "video.nii.gz")
    with Session.open(tmp_path / "video.nii.gz") as session:
        for t, mask in enumerate(stored().T):
            session.correct(t, mask)
        (*_, last) = export(session, tmp_path / "out", ["nifti"])
    assert b"DOE" not in gzip.decompress(last.path.read_bytes())
    np.testing.assert_array_equal(np.asarray(nibabel.load(last.path).dataobj), stored())


def test_an_export_that_another_tool_turned_comes_back(sample, tmp_path: Path) -> None:
    with Session.open(sample.video) as session:
        for t, mask in enumerate(sample.masks):
            session.correct(t, mask)
        (*_, last) = export(session, tmp_path / "out", ["nifti"])
        nibabel.save(turned(nibabel.load(last.path), ("R", "A", "S")), tmp_path / "ras.nii.gz")
        list(import_masks(session, tmp_path / "ras.nii.gz", overwrite=True))
        np.testing.assert_array_equal(np.asarray(session.masks), sample.masks)
