"""What only Windows, macOS or a POSIX system does, wherever the tests run: a module gets an operating system that
differs in what it asks for."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from vivim.batch import earlier
from vivim.batch.jobs import SESSION, Exporting, Job
from vivim.cli import demo, serve
from vivim.errors import SessionError
from vivim.remote import config
from vivim.remote.protocol import RemoteError
from vivim.session import Session, folder_lock, mask_store
from vivim.session.folder_lock import LOCK, FolderLock
from vivim.utils import atomic_files, system


class Other:
    """A module with some of its names changed."""

    def __init__(self, real: ModuleType, **changes: Any) -> None:
        self._real, self.__dict__ = real, {"_real": real, **changes}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a module the `os` of Windows, with further changes."""

    def give(module: ModuleType, **changes: Any) -> None:
        monkeypatch.setattr(module, "os", Other(os, name="nt", **changes))

    return give


def test_windows_flushes_files_for_writing_and_no_folders(tmp_path: Path, windows: Any) -> None:
    (tmp_path / "file").write_bytes(b"1")
    opened: list[tuple[str, int]] = []

    def note(path: Any, flags: int) -> int:
        opened.append((os.path.basename(path), flags))
        return os.open(path, flags)

    windows(atomic_files, open=note)
    atomic_files.flush(tmp_path)
    assert opened == [("file", os.O_RDWR)]  # its FlushFileBuffers refuses a file that is open for reading


def test_windows_renames_onto_no_open_file_and_the_old_one_stays(tmp_path: Path, windows: Any) -> None:
    """A program that reads the file keeps it; the error is said, and no temporary file is left."""
    path = tmp_path / "mask.png"
    path.write_bytes(b"old")

    def refuse(source: Any, target: Any) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used", str(target))

    windows(atomic_files, replace=refuse)
    with pytest.raises(PermissionError), atomic_files.atomic_write(path) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["mask.png"]


def test_windows_holds_no_mask_open_while_it_is_renamed(
    session: Session, sample: Any, windows: Any, monkeypatch
) -> None:
    held: list[bool] = []
    windows(mask_store)
    session.correct(3, sample.masks[3])
    masks = session.masks
    monkeypatch.setattr(mask_store, "flush_one", lambda path: held.append(masks._turn.locked()))
    masks.flush(3, masks.number(3))
    assert held == [True, True]
    monkeypatch.setattr(mask_store, "os", os)
    masks.flush(3, masks.number(3))
    assert held[2:] == [os.name == "nt"] * 2  # elsewhere strokes do not wait for the disk


def test_windows_locks_a_session_once(tmp_path: Path, windows: Any) -> None:
    windows(folder_lock)
    with (
        FolderLock(tmp_path),
        pytest.raises(SessionError, match="open in another window"),
        FolderLock(tmp_path),
    ):
        pass
    with FolderLock(tmp_path) as lock:
        assert not lock.after_crash


def test_windows_moves_a_session_only_when_none_of_its_files_is_open(tmp_path: Path, windows: Any) -> None:
    job = Job("video.mp4", "scan", str(tmp_path), Exporting())
    home = job.folder / SESSION
    home.mkdir(parents=True)

    def rename(source: Any, target: Any) -> None:
        if Path(source) == home and (Path("/proc/self/fd").is_dir()):
            held = {os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()}
            assert str(home / LOCK) not in held, "Windows refuses to move a folder with an open file in it"
        os.rename(source, target)

    windows(earlier, rename=rename)
    place = earlier._put_aside(job)
    assert (place / SESSION).is_dir() and not home.exists()


@pytest.mark.parametrize(("name", "refused"), [("posix", True), ("nt", False)])
def test_rights_of_a_token_count_where_there_are_any(
    name: str, refused: bool, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length")
    monkeypatch.setattr(config, "os", Other(os, name=name))
    monkeypatch.setattr(config, "stat", Other(stat, S_IMODE=lambda mode: 0o644))
    if refused:
        with pytest.raises(RemoteError, match="chmod 600"):
            config.read_token(path)
    else:
        assert config.read_token(path) == "a-token-of-some-length"


@pytest.mark.parametrize(("platform", "asked"), [("win32", False), ("linux", True), ("darwin", True)])
def test_windows_has_no_handlers_of_signals_in_a_loop(
    platform: str, asked: bool, tmp_path: Path, monkeypatch
) -> None:
    pytest.importorskip("websockets")
    from vivim.remote import server

    handlers: list[int] = []

    class Server:
        def __init__(self, serving: object) -> None: ...

        async def run(self, until: asyncio.Event, ready: object) -> None:
            asyncio.get_running_loop().call_soon(until.set)
            await until.wait()

    monkeypatch.setattr(server, "Server", Server)
    monkeypatch.setattr(serve, "sweep", lambda folder: None)
    monkeypatch.setattr(serve, "sys", Other(sys, platform=platform))
    kind = asyncio.SelectorEventLoop
    monkeypatch.setattr(kind, "add_signal_handler", lambda loop, n, act: handlers.append(n), raising=False)
    with asyncio.Runner(loop_factory=kind) as runner:
        assert runner.run(serve._serve(None, tmp_path)) == {"stopped": True}  # type: ignore[arg-type]
    assert bool(handlers) == asked


@pytest.mark.parametrize("known", [True, False])
def test_macos_flushes_the_disks_own_cache(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl, asked, flushed = ModuleType("fcntl"), list[int](), list[int]()

    def full(descriptor: int, command: int) -> None:
        asked.append(command)
        if not known:
            raise OSError(45, "Operation not supported")  # as on a share

    fcntl.F_FULLFSYNC, fcntl.fcntl = 51, full  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcntl", fcntl)
    monkeypatch.setattr(atomic_files, "sys", Other(sys, platform="darwin"))
    monkeypatch.setattr(atomic_files, "os", Other(os, fsync=flushed.append))
    atomic_files.flush_open(7)
    assert asked == [51] and flushed == ([] if known else [7])


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_only_glibc_is_asked_for_its_heap(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "sys", Other(sys, platform=platform))
    assert system._of_c_library.__wrapped__("malloc_trim") is None


def test_cores_are_counted_where_no_process_is_bound_to_some(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = ModuleType("os")
    bare.cpu_count = lambda: 7  # type: ignore[attr-defined]
    monkeypatch.setattr(system, "os", bare)
    assert system.cores() == 7


def test_a_process_is_known_by_its_start_without_a_proc_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")

    class Nowhere:
        def __init__(self, path: str) -> None: ...

        def read_text(self, **_: str) -> str:
            raise FileNotFoundError

    monkeypatch.setattr(atomic_files, "Path", Nowhere)
    start = atomic_files._start(os.getpid())
    assert start == int(psutil.Process().create_time())
    assert atomic_files._lives(os.getpid(), start) and not atomic_files._lives(os.getpid(), start - 1000)


def test_a_boot_is_known_without_a_proc_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(path: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(atomic_files, "os", Other(os, readlink=nowhere))
    monkeypatch.setattr(atomic_files, "_text", lambda path: "")
    assert atomic_files._run() == atomic_files._run() != ""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_desktop_always_has_a_display(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(demo, "sys", Other(sys, platform=platform))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert demo.why_headless(False) is None


def test_every_branch_for_another_system_is_in_a_tested_module() -> None:
    """A branch that asks for the system, in a module that none of these tests changes, is untested here."""
    import vivim

    root = Path(vivim.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for package in (root, root.parents[1] / "napari_vivim")
        for path in package.rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("os.name ", "sys.platform", "platform.system"))
    }
    tested = (mask_store, folder_lock, serve, demo, config, earlier, system, atomic_files)
    assert found == {Path(module.__file__ or "").relative_to(root).as_posix() for module in tested}
