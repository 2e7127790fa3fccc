"""Sessions of three readers on one phantom."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from phantom_readers import drawn_by, open_reader, write_phantom
from vivim import Session


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder with a video and three readers' sessions, made once, and the video's true masks.

    The readers have corrected all frames but the last. There a model proposed.
    """
    folder = tmp_path_factory.mktemp("readers")
    truth = write_phantom(folder / "scan.nii.gz")
    for name, masks in drawn_by(truth).items():
        with open_reader(folder / "scan.nii.gz", name) as session:
            for t, mask in enumerate(masks[:-1]):
                session.correct(t, mask)
            session.propose(len(masks) - 1, masks[-1], "model 1", uncertainty=0.5)
    return folder, truth


@pytest.fixture
def truth(template: tuple[Path, np.ndarray], tmp_path: Path) -> np.ndarray:
    """True masks of the video ``scan.nii.gz``."""
    shutil.copy(template[0] / "scan.nii.gz", tmp_path)
    return template[1]


@pytest.fixture
def readers(
    template: tuple[Path, np.ndarray], truth: np.ndarray, tmp_path: Path
) -> Iterator[dict[str, Session]]:
    """Sessions of the three readers, by name."""
    shutil.copytree(template[0], tmp_path, dirs_exist_ok=True)
    with ExitStack() as stack:
        yield {name: stack.enter_context(open_reader(tmp_path / "scan.nii.gz", name)) for name in "abc"}
