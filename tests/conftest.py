"""Shared fixtures: where real data lies, a home for models that is thrown away, a line to a server that breaks."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
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
