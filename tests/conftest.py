"""Shared fixtures: where real data lies, a home for models that is thrown away, a line to a server that breaks."""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import hypothesis
import psutil
import pytest
import vivim.settings
from vivim.utils.system import cores

ROOT = Path(__file__).resolve().parents[1]

# A viewer under test puts all settings of napari back to what they were when it was installed. Those of the person who
# runs the tests are none of its business, and so none has a file: empty means so.
os.environ["NAPARI_CONFIG"] = ""

# Each worker, and what it starts, takes its share of the cores: threads that wait for each other on cores which another
# worker uses take a quarter more of the processor's seconds for the same work.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // _workers)))

# Where this is set, as in many containers, each process of the tests would compile all modules anew, and pytest
# besides rewrite those of napari. A process that loads PyTorch then starts in 8 seconds instead of 3.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")  # its deadlines, too, are clocks

PATIENCE = 60.0
"""Seconds that are waited for what should end at once; a test that fails is the only one that waits so long."""


def _shared(name: str) -> Path:
    return ROOT.parent / "shared" / name


@pytest.fixture(scope="session")
def vivim_data() -> Path:
    """Folder of real medical frames and masks; skips the test where it is absent."""
    folder = Path(os.environ.get("VIVIM_DATA", _shared("data")))
    if (folder / "data").is_dir():  # the folder that holds data and fixtures
        folder = folder / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set VIVIM_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """Folder of reference numbers the network must reproduce; skips the test where it is absent."""
    data = Path(os.environ.get("VIVIM_DATA", _shared("data")))
    beside = next(
        (one for one in (data / "fixtures", data.parent / "fixtures") if one.is_dir()), _shared("fixtures")
    )
    folder = Path(os.environ.get("VIVIM_FIXTURES", beside))
    if not folder.is_dir():
        pytest.skip(f"reference numbers not found at {folder}; set VIVIM_FIXTURES to their folder")
    return folder


@pytest.fixture(autouse=True)
def vivim_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test's models and caches away from the person's own."""
    home = tmp_path_factory.mktemp("vivim-home")
    monkeypatch.setenv("VIVIM_HOME", str(home))
    vivim.settings._say_once.cache_clear()  # what is said once a program is said once a test
    return home


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """PyTorch draws the same numbers whatever ran before; pytest-randomly does so for Python and NumPy."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever a test starts, it ends: a process or thread that is left disturbs another test, in some order.

    Threads that a library keeps for the whole program are its own affair: those of executors, and daemons.
    """
    processes, threads = set(_processes()), set(_threads())
    yield
    _, living = psutil.wait_procs(set(_processes()) - processes, PATIENCE)
    said = [f"process {one.pid}: {_words(one)}" for one in living]
    for one in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(living)
    ending = time.monotonic() + PATIENCE
    for thread in set(_threads()) - threads:
        thread.join(max(0.0, ending - time.monotonic()))
        if thread.is_alive():
            said.append(f"thread {thread.name}")
    assert not said, "The test has left behind: " + ", ".join(said)


def _processes() -> list[psutil.Process]:
    """Those this one has started, without the one that Python keeps until the end to look after shared memory."""
    return [one for one in psutil.Process().children() if one.pid != resource_tracker._resource_tracker._pid]


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "ended meanwhile"


def _threads() -> list[threading.Thread]:
    kept = [*concurrent.futures.thread._threads_queues, threading.current_thread()]
    return [thread for thread in threading.enumerate() if not thread.daemon and thread not in kept]


@contextlib.contextmanager
def _relay(port: int, lives: Callable[[], int]) -> Iterator[int]:
    """A relay to `port` that cuts each connection off once so many bytes came back; gives its own port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, left: int) -> None:
        with contextlib.suppress(OSError):  # the other direction was cut off
            while left > 0 and (data := source.recv(min(65536, left))):
                target.sendall(data)
                left -= len(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # closed: the test is over
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=pump, args=(server, client, lives()), daemon=True).start()
            threading.Thread(target=pump, args=(client, server, 2**40), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.fixture(scope="session")
def relay():
    """A function: the context of a relay that cuts off."""
    return _relay


@pytest.fixture(scope="session")
def swift_model():
    """A guided b0 without temporal blocks on 32 x 32 pixels: what is tested with it does not ask for more."""
    import torch
    from vivim import Vivim, VivimConfig

    torch.manual_seed(0)
    model = Vivim(VivimConfig(guided=True, input_size=(32, 32), temporal_stages=())).eval()
    torch.nn.init.normal_(model.guide_embed.weight, std=0.05)
    model.name, model.version = "swift", "0123456789ab"
    return model
