"""Disks that fail while masks are taken in: what came in stays, what did not is said, and nothing is by halves."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from vivim import Session
from vivim.errors import MasksError, SessionError
from vivim.io.import_masks import import_masks
from vivim.session import write_queue
from vivim.session.mask_store import MaskStore

WRITTEN = 4
"""Frames that come in before the disk fails."""


def labels_of(session: Session) -> np.ndarray:
    """A square on every frame, larger from frame to frame."""
    labels = np.zeros(session.shape, np.uint8)
    for t in range(len(labels)):
        labels[t, : t + 5, : t + 5] = 1
    return labels


@pytest.fixture
def masks(session: Session, tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, labels_of(session))
    return path


def take_in(session: Session, masks: Path, fail: Callable[[], object]) -> None:
    """Import until `WRITTEN` frames are there, then let the disk fail and go on."""
    for event in import_masks(session, masks):
        if event.stage == "write" and event.done == WRITTEN:
            fail()


def check_whole(session: Session, folder: Path, labels: np.ndarray) -> None:
    """The frames that came in are there as they were drawn; the others are empty; nothing is in the making."""
    if not session.read_only:
        session.close()
    with Session.open(folder) as again:
        assert again.frames_with("corrected") == list(range(WRITTEN)) and again.verify() == []
        np.testing.assert_array_equal(np.asarray(again.masks)[:WRITTEN], labels[:WRITTEN])
        assert not np.asarray(again.masks)[WRITTEN:].any()
    left = [path.name for path in folder.rglob("*") if path.name.endswith((".part", ".partial"))]
    assert left == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_more_keeps_what_came_in(
    session: Session, masks: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    said = f"{os.strerror(code)}.*everything before it is safe"
    with monkeypatch.context() as patch, pytest.raises(SessionError, match=said):
        take_in(session, masks, lambda: patch.setattr(os, "replace", refused))
    check_whole(session, session.folder, labels_of(session))


def test_a_session_folder_taken_away_is_noticed_at_the_next_frame(
    session: Session, masks: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away.vivim"
    with pytest.raises(SessionError, match="moved, removed or replaced"):
        take_in(session, masks, lambda: session.folder.rename(away))
    assert not session.folder.exists()
    check_whole(session, away, labels_of(session))


@pytest.mark.parametrize("stage", ["check", "write"])
def test_masks_taken_away_while_they_are_read_are_said(session: Session, tmp_path: Path, stage: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for t, mask in enumerate(labels_of(session)):
        Image.fromarray(mask).save(folder / f"{t:04d}.png")
    with pytest.raises(MasksError, match="in cannot be read as masks"):
        for event in import_masks(session, folder):
            if (event.stage, event.done) == (stage, WRITTEN):
                shutil.rmtree(folder)
    assert session.frames_with("corrected") == list(range(WRITTEN if stage == "write" else 0))


def test_a_share_that_stalls_is_said_in_time_and_the_import_can_be_repeated(
    session: Session, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, write = threading.Event(), MaskStore.__setitem__

    def stalled(masks: MaskStore, t: int, pixels: np.ndarray) -> None:
        answer.wait(60)
        write(masks, t, pixels)

    def stall() -> None:
        monkeypatch.setattr(MaskStore, "__setitem__", stalled)
        monkeypatch.setattr(write_queue, "SECONDS", 0.2)

    heard = threading.Event()
    session.on_change(lambda t, status: heard.set() if t == WRITTEN else None)
    with pytest.raises(SessionError, match="has not answered"):
        take_in(session, masks, stall)
    monkeypatch.setattr(write_queue, "SECONDS", 60)
    answer.set()
    assert heard.wait(60)  # what was waited for in vain went through after all
    list(import_masks(session, masks, overwrite=True))
    np.testing.assert_array_equal(np.asarray(session.masks), labels_of(session))
