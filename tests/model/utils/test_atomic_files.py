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
from vivim.io.export import export
from vivim.registry.registry import list_models, models_folder, save_version
from vivim.utils import atomic_files
from vivim.utils.atomic_files import NAME_BYTES, OLD, PART, atomic_write, own_name, part_of, shortened, sweep


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
    left = models_folder() / of_process(part_of(models_folder() / "x.safetensors").name, dead)
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


# -- who it belongs to ------------------------------------------------------------------------------------------------


def test_a_machine_named_alike_sweeps_nothing_of_ours(tmp_path: Path, dead: int, monkeypatch) -> None:
    """Copies of one machine: the same name, the same identity on disk, but each started for itself."""
    path = tmp_path / of_process(own_name(PART, "masks.tif"), dead)
    path.write_text("being written")
    text = atomic_files._text
    monkeypatch.setattr(atomic_files, "_text", lambda path: "another" if "boot_id" in path else text(path))
    monkeypatch.setattr("psutil.boot_time", lambda: 12.0)
    assert sweep(tmp_path) == []
    long_ago = path.stat().st_mtime - atomic_files.OLD_SECONDS - 60
    os.utime(path, (long_ago, long_ago))
    assert sweep(tmp_path) == [path]  # left before this machine was started anew


def test_another_container_of_this_machine_sweeps_nothing_of_ours(tmp_path: Path, dead: int) -> None:
    (tmp_path / own_name(PART, "masks.tif")).write_text("being written")
    code = (
        "import sys\nfrom pathlib import Path\nfrom vivim.utils.atomic_files import sweep\n"
        "print(sweep(Path(sys.argv[1])))"
    )
    words = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code, str(tmp_path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no containers can be made here")
    if "unshare:" in done.stderr:
        pytest.skip("no containers may be made here")
    assert done.stdout == "[]\n", done.stderr


def test_a_process_of_the_same_number_that_began_later_keeps_nothing(tmp_path: Path) -> None:
    ours = own_name(PART, "masks.tif")
    head, start = ours.removesuffix("-masks.tif").rsplit("-", 1)
    for name in (ours, f"{head}-{int(start) - 1000}-masks.tif"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in sweep(tmp_path)] == [f"{head}-{int(start) - 1000}-masks.tif"]


def test_a_living_process_of_another_is_left_alone(tmp_path: Path) -> None:
    code = "import sys\nfrom vivim.utils.atomic_files import own_name\nprint(own_name('.part', 'x'), flush=True)\n"
    code += "sys.stdin.read()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        path = tmp_path / other.stdout.readline().strip()
        path.write_text("being written")
        assert sweep(tmp_path) == []
        other.communicate()
    assert sweep(tmp_path) == [path]


# -- long names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "é", "日", "🙂"])
@pytest.mark.parametrize("ending", ["", ".mp4", ".nii.gz", "." + "x" * 200])
def test_a_name_is_never_longer_than_a_file_system_takes(tmp_path: Path, letter: str, ending: str) -> None:
    for length in range(240, 256):
        name = letter * ((length - len(ending)) // len(letter.encode()))
        name += "y" * (length - len((name + ending).encode())) + ending
        assert len(name.encode()) == length
        part = part_of(tmp_path / name)
        part.write_text("x")
        assert part.suffixes[-1:] == Path(name).suffixes[-1:] or len(ending) > 100
        part.unlink()
        folder = tmp_path / shortened(name + ".vivim")
        folder.mkdir()
        assert folder.suffix == ".vivim"
        folder.rmdir()
    assert shortened("short.mp4") == "short.mp4"
    assert shortened("a" * 300) != shortened("a" * 301)


@pytest.mark.parametrize("arrived", [False, True])
def test_what_was_put_aside_under_too_long_a_name_is_not_lost(
    tmp_path: Path, dead: int, arrived: bool
) -> None:
    final = tmp_path / ("m" * NAME_BYTES)
    name = own_name(OLD, final.name)
    old = tmp_path / of_process(name, dead)
    cut = len(old.name) - len(name)  # as a process of that number would have called it
    if cut:
        pytest.skip("the number of the dead process is of another length than ours")
    old.mkdir()
    if arrived:
        final.mkdir()
    assert sweep(tmp_path) == ([old] if arrived else [])
    assert old.exists() != arrived


# -- atomic writing ----------------------------------------------------------------------------------------------------


def test_writing_is_atomic_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    final = tmp_path / "notes.tar.gz"
    final.write_text("old")
    with atomic_write(final) as part:
        assert part.parent == tmp_path and part.suffixes == final.suffixes
        part.write_text("new")
        assert final.read_text() == "old"
    assert final.read_text() == "new" and list(tmp_path.iterdir()) == [final]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    final = tmp_path / "masks"
    for names in (["a", "b"], ["c"]):
        with atomic_write(final) as part:
            part.mkdir()
            for name in names:
                (part / name).write_text(name)
        assert sorted(path.name for path in final.iterdir()) == names
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("folder", [False, True])
def test_writing_is_atomic_a_block_that_fails_leaves_what_was_there(tmp_path: Path, folder: bool) -> None:
    final = tmp_path / "kept"
    final.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(final) as part:
        if folder:
            part.mkdir()
            (part / "half").write_text("half")
        else:
            part.write_text("half")
        raise KeyboardInterrupt
    assert final.read_text() == "old" and list(tmp_path.iterdir()) == [final]


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    final = tmp_path / "work"
    final.mkdir()
    (final / "precious").write_text("x")
    with pytest.raises(OSError), atomic_write(final) as part:
        part.write_text("new")
    assert (final / "precious").read_text() == "x" and list(tmp_path.iterdir()) == [final]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    final = tmp_path / "notes.json"
    with atomic_write(final) as first, atomic_write(final) as second:
        first.write_text("first")
        second.write_text("second")
    assert final.read_text() == "first" and list(tmp_path.iterdir()) == [final]


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, done = tmp_path / "notes.json", []
    replace = os.replace
    monkeypatch.setattr(atomic_files, "flush_one", lambda path: done.append(Path(path)))
    monkeypatch.setattr(os, "replace", lambda part, to: (done.append("renamed"), replace(part, to)))
    with atomic_write(final) as part:
        part.write_text("x")
    assert done == [part, "renamed", tmp_path]
