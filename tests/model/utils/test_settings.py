"""The settings: defaults, what stands in the file and stays there, and nothing lost whatever the file holds."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vivim.cli import build_parser
from vivim.errors import SettingsError
from vivim.inference.batch_runner import Runner
from vivim.registry.registry import models_folder
from vivim.remote.config import authority, preferred_device, remote_device
from vivim.session import Session
from vivim.settings import FILE, PALETTES, Settings, change_settings, read_settings, settings


def test_only_what_differs_from_the_defaults_is_in_the_file(vivim_home: Path) -> None:
    assert settings() == Settings() and not (vivim_home / FILE).exists()
    assert change_settings(clip_length=12, device="cpu").clip_length == 12
    change_settings(device="auto")
    assert json.loads((vivim_home / FILE).read_text()) == {"clip_length": 12}


def test_what_a_newer_version_wrote_stays(vivim_home: Path) -> None:
    (vivim_home / FILE).write_text('{"of_tomorrow": [1], "opacity": 70}')
    change_settings(clip_length=4)
    assert json.loads((vivim_home / FILE).read_text()) == {
        "of_tomorrow": [1],
        "opacity": 70,
        "clip_length": 4,
    }


@pytest.mark.parametrize("content", ["{", "[]", "\xff", "[" * 100_000])
def test_a_broken_file_is_said_and_kept(content: str, vivim_home: Path) -> None:
    (vivim_home / FILE).write_text(content, encoding="latin-1")
    found, problems = read_settings()
    assert found == Settings()
    assert len(problems) == 1 and "is damaged" in problems[0] and str(vivim_home) in problems[0]
    change_settings(opacity=80)
    assert (vivim_home / f"{FILE}.broken").read_text(encoding="latin-1") == content
    assert read_settings() == (Settings(opacity=80), ())


def test_one_wrong_value_spoils_no_other(vivim_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (vivim_home / FILE).write_text('{"clip_length": "many", "opacity": 70, "batch_limit": true}')
    assert settings() == settings() == Settings(opacity=70)
    assert caplog.text.count("'Window length'") == 1
    change_settings(opacity=60)
    assert json.loads((vivim_home / FILE).read_text())["clip_length"] == "many"


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_length": 0}, {"clip_length": 65}, {"clip_length": 8.0}, {"device": "tpu"}, {"palette": "mud"},
        {"own_colors": "#12"}, {"models_folder": "here"}, {"opacity": True},
    ],
)  # fmt: skip
def test_values_that_cannot_be(wrong: dict, vivim_home: Path) -> None:
    with pytest.raises(SettingsError):
        change_settings(**wrong)
    assert not (vivim_home / FILE).exists()


def test_changes_made_together_are_all_kept() -> None:
    names = ["clip_length", "batch_limit", "opacity"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: change_settings(**{name: 7}), names))
    assert [getattr(settings(), name) for name in names] == [7, 7, 7]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIVIM_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(SettingsError, match="Cannot write the settings in"):
        change_settings(opacity=60)


def test_the_old_file_of_the_server_is_taken_over(vivim_home: Path) -> None:
    old = vivim_home / "remote.json"
    old.write_text('{"address": "https://gpu.example:99", "ca": "/certificates/own.pem"}')
    assert remote_device() == "remote:https://gpu.example:99"
    change_settings(device="remote")
    assert not old.exists() and (vivim_home / "remote.json.old").is_file()
    assert settings().remote_address == "https://gpu.example:99" and authority() == "/certificates/own.pem"
    assert preferred_device() == "remote:https://gpu.example:99"
    assert preferred_device(remote=False) == "auto"


def test_colours_of_ones_own_come_first() -> None:
    vivid = PALETTES["vivid"]
    assert Settings(own_colors=f"#ABCDEF {vivid[1]}").colors() == ("#abcdef", vivid[1], vivid[0], *vivid[2:])


def test_they_are_used(tmp_path: Path, sample) -> None:
    change_settings(clip_length=5, batch_limit=3, device="cpu", models_folder=str(tmp_path / "models"))
    change_settings(sessions_folder=str(tmp_path / "work"))
    args = build_parser("segment").parse_args(["segment", "a.mp4", "-o", "out"])
    assert args.device == "cpu"
    from vivim.cli.segment import _options

    assert _options(args, "0").clip_length == 5
    assert models_folder() == tmp_path / "models"
    model = SimpleNamespace(to=lambda device: SimpleNamespace(eval=lambda: None))
    assert Runner(model, SimpleNamespace(type="cpu"))._max_batch == 3  # type: ignore[arg-type]
    with Session.open(sample.video) as session:
        assert session.folder.parent == tmp_path / "work"
        assert session.folder.name == f"frames-{session.identity[:8]}.vivim"
    with Session.open(sample.video) as again:
        assert again.folder == session.folder


@pytest.fixture
def stalled(vivim_home: Path) -> Iterator[Path]:
    """A folder of settings whose file takes for ever to open, until the test ends: a pipe that nobody writes to."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    (vivim_home / FILE).unlink(missing_ok=True)
    os.mkfifo(vivim_home / FILE)
    yield vivim_home
    reading = [thread for thread in threading.enumerate() if thread.name == "vivim-read-settings"]
    for thread in reading:
        while thread.is_alive():
            try:
                os.close(os.open(vivim_home / FILE, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # it has not come to open it yet
                thread.join(0.01)


def test_a_disk_that_stalls_leaves_the_settings_last_read(
    vivim_home: Path, request: Any, caplog: Any
) -> None:
    change_settings(opacity=70)
    request.getfixturevalue("stalled")
    for _ in range(3):
        assert settings() == settings(at_once=True) == Settings(opacity=70)
    assert caplog.text.count("does not answer") == 1
    assert sum(thread.name == "vivim-read-settings" for thread in threading.enumerate()) == 1


def test_a_disk_that_never_answered_gives_the_defaults(stalled: Path) -> None:
    assert settings(at_once=True) == Settings()


def test_what_another_program_wrote_is_seen(vivim_home: Path) -> None:
    change_settings(opacity=70)
    (vivim_home / FILE).write_text('{"opacity": 40}')
    assert read_settings()[0] == Settings(opacity=40)
    while settings() != Settings(opacity=40):  # at the latest when this busy machine has read it
        pass
