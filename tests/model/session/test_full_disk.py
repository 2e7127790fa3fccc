"""A disk that is really full, where one can be made; a folder that is really read-only, where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import ExportError, SessionError
from vivim.io.export import export


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB of its own; skips the test where it cannot be made."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def noise(session: Session, seed: int) -> np.ndarray:
    """A mask that does not pack."""
    return np.random.default_rng(seed).integers(0, 255, session.shape[1:], dtype=np.uint8)


def test_a_disk_that_fills_up_costs_the_last_step_only(sample, small_disk: Path) -> None:
    kept: dict[int, tuple[str, np.ndarray]] = {}
    refused = 0
    with Session.open(sample.video, folder=small_disk / "s") as session:
        for step in range(120):
            t = step % len(session)
            try:
                if step % 3:
                    session.correct(t, noise(session, step))
                elif not session.propose(t, noise(session, step), "v1"):
                    continue
                kept[t] = (session.status(t), noise(session, step))
            except SessionError as error:
                assert "No space left" in str(error) and "everything before it is safe" in str(error)
                refused += 1
                if refused == 3:
                    (small_disk / "ballast").unlink()
            if step == 20:
                free = shutil.disk_usage(small_disk).free
                (small_disk / "ballast").write_bytes(bytes(max(0, free - 8192)))
        assert refused >= 3
        for t, (status, mask) in kept.items():
            assert session.status(t) in (status, "corrected")
            np.testing.assert_array_equal(session.masks[t], mask)
    with Session.open(small_disk / "s") as again:
        for t, (status, mask) in kept.items():
            assert again.status(t) in (status, "corrected")
            np.testing.assert_array_equal(again.masks[t], mask)
        assert not [
            path for path in (small_disk / "s").rglob("*") if path.name.endswith((".part", ".partial"))
        ]


def test_a_session_that_does_not_fit_is_refused_and_leaves_none_that_looks_whole(
    sample, small_disk: Path
) -> None:
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free))
    with pytest.raises(SessionError, match=r"No space left.*Free some space"):
        Session.open(sample.video, folder=small_disk / "s")
    (small_disk / "ballast").unlink()
    with Session.open(sample.video, folder=small_disk / "s") as session:
        session.correct(0, noise(session, 0))


def test_an_export_that_does_not_fit_leaves_nothing(session: Session, small_disk: Path) -> None:
    for t in range(len(session)):
        session.correct(t, noise(session, t))
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(free - 20_000))
    for name in ("tiff", "png"):
        with pytest.raises(ExportError, match="No space left"):
            list(export(session, small_disk / "out", [name]))
        assert not list((small_disk / "out").iterdir())


def test_a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written(sample, small_disk: Path) -> None:
    with Session.open(sample.video, folder=small_disk / "s") as session:
        session.correct(0, sample.masks[0])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Session.open(small_disk / "s", read_only=True) as reader:
        assert reader.status(0) == "corrected"
        np.testing.assert_array_equal(reader.masks[0], sample.masks[0])
    with pytest.raises(SessionError, match="Choose a session folder you can write to"):
        Session.open(small_disk / "s")
    for lazy in (False, True):
        with pytest.raises(SessionError, match="Choose a session folder"):
            Session.open(sample.video, folder=small_disk / "new", lazy=lazy)


def test_a_disk_that_becomes_read_only_while_working(sample, small_disk: Path) -> None:
    session = Session.open(sample.video, folder=small_disk / "s")
    session.correct(0, sample.masks[0])
    remount = subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True)
    if remount.returncode == 0:  # refused while a file is open for writing: then it cannot happen
        with pytest.raises(SessionError, match="Read-only"):
            session.correct(1, sample.masks[1])
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    session.close()
    with Session.open(small_disk / "s") as again:
        assert again.frames_with("corrected") == [0]
