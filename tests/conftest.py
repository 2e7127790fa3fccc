"""Shared fixtures: where real data lies, and a home for models that is thrown away after each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    return ROOT.parent / "shared" / name


@pytest.fixture(scope="session")
def vivim_data() -> Path:
    """Folder of real medical frames and masks; skips the test where it is absent."""
    folder = Path(os.environ.get("VIVIM_DATA", _shared("data")))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set VIVIM_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """Folder of reference numbers the network must reproduce; skips the test where it is absent."""
    folder = Path(os.environ.get("VIVIM_FIXTURES", _shared("fixtures")))
    if not folder.is_dir():
        pytest.skip(f"reference numbers not found at {folder}; set VIVIM_FIXTURES to their folder")
    return folder


@pytest.fixture(autouse=True)
def vivim_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test's models and caches away from the person's own."""
    home = tmp_path_factory.mktemp("vivim-home")
    monkeypatch.setenv("VIVIM_HOME", str(home))
    return home
