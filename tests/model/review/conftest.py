"""Sessions of three readers on one phantom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from phantom_readers import drawn_by, open_reader, write_phantom
from vivim import Session


@pytest.fixture
def truth(tmp_path: Path) -> np.ndarray:
    return write_phantom(tmp_path / "scan.nii.gz")


@pytest.fixture
def readers(truth: np.ndarray, tmp_path: Path) -> Iterator[dict[str, Session]]:
    """Sessions of three readers, who have corrected all frames but the last. There a model proposed."""
    with ExitStack() as stack:
        found = {}
        for name, masks in drawn_by(truth).items():
            session = stack.enter_context(open_reader(tmp_path / "scan.nii.gz", name))
            for t, mask in enumerate(masks[:-1]):
                session.correct(t, mask)
            session.propose(len(masks) - 1, masks[-1], "model 1", uncertainty=0.5)
            found[name] = session
        yield found
