"""What a killed program left in the making goes with the next writing, and nothing else does."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from vivim import Session
from vivim.export import export
from vivim.leavings import OLD, PART, own_name, part_of, sweep
from vivim.models import list_models, models_folder, save_version


@pytest.fixture
def dead() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def of_process(name: str, process: int) -> str:
    return name.replace(f"-{os.getpid()}-", f"-{process}-")


def test_only_what_dead_processes_of_this_machine_left_is_swept(tmp_path: Path, dead: int) -> None:
    left = [
        of_process(own_name(kind, name), dead)
        for kind, name in ((PART, "masks.tif"), ("vivim-finetune", "x1"))
    ]
    kept = [
        own_name(PART, "masks.tif"),  # a living process's: ours
        own_name(PART, "a").replace(own_name(PART)[6:14], "00000000"),  # another machine's
        ".part-x",
        ".part",
        "masks.tif",
        ".part-notes-12-draft.txt",
    ]
    for name in [*left, *kept]:
        (tmp_path / name).write_text("x")
    (tmp_path / of_process(own_name(PART, "masks"), dead)).mkdir()
    (tmp_path / of_process(own_name(PART, "masks"), dead) / "000000.png").write_text("half")
    assert len(sweep(tmp_path)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert sweep(tmp_path / "absent") == []


@pytest.mark.parametrize("arrived", [False, True])
def test_what_was_put_aside_comes_back_if_the_new_never_came(
    tmp_path: Path, dead: int, arrived: bool
) -> None:
    old = tmp_path / of_process(own_name(OLD, "masks"), dead)
    old.mkdir()
    (old / "000000.png").write_text("old")
    if arrived:
        (tmp_path / "masks").mkdir()
        (tmp_path / "masks" / "000000.png").write_text("new")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]
    assert (tmp_path / "masks" / "000000.png").read_text() == ("new" if arrived else "old")


def test_another_persons_leavings_stay(tmp_path: Path, dead: int, monkeypatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("this system has no owners of files")
    (tmp_path / of_process(own_name(PART, "masks.tif"), dead)).write_text("x")
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    assert sweep(tmp_path) == []


def test_an_export_sweeps_its_folder(session: Session, sample, tmp_path: Path, dead: int) -> None:
    session.correct(0, sample.masks[0])
    out = tmp_path / "out"
    out.mkdir()
    (out / of_process(part_of(out / "overlay.mp4").name, dead)).write_text("half")
    list(export(session, out, ["tiff"]))
    assert [path.name for path in out.iterdir()] == ["masks.tif"]


def test_saving_a_model_sweeps_the_registry(tiny_model, dead: int) -> None:
    models_folder().mkdir(parents=True)
    left = models_folder() / of_process(part_of(models_folder() / "x.safetensors.new").name, dead)
    left.write_bytes(b"half")
    assert not any(info.name.startswith(".") for info in list_models())
    info = save_version(copy.deepcopy(tiny_model), "mine", {})
    assert [path.name for path in models_folder().iterdir()] == [info.path.name]


def test_a_fine_tunes_working_folder_is_ours_to_sweep(tmp_path: Path, dead: int, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / of_process(own_name("vivim-finetune", "abc"), dead)).mkdir()
    (tmp_path / "vivim-notes").mkdir()
    sweep(Path(tempfile.gettempdir()))
    assert [path.name for path in tmp_path.iterdir()] == ["vivim-notes"]
