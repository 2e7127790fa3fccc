"""A server on a loopback socket, in a thread of the test's process, and a relay that cuts connections off."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

TOKEN = "a-token-for-tests-only"


@contextmanager
def _serving(**options) -> Iterator[int]:
    """A running server; gives its port."""
    from vivim.remote.server import Server, Serving

    how = Serving(**{"token": TOKEN, "port": 0, "device": "cpu", **options})
    began, found = threading.Event(), {}

    async def work() -> None:
        found["loop"], found["until"] = asyncio.get_running_loop(), asyncio.Event()

        def ready(port: int) -> None:
            found["port"] = port
            began.set()

        await Server(how).run(found["until"], ready)

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        assert began.wait(20)
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["until"].set)
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    from vivim.remote.limits import Limits

    with _serving(limits=Limits(attempts=10_000)) as number:
        yield number


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client knows the token, and does not wait long between attempts."""
    from vivim.remote import conversation

    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", TOKEN)
    monkeypatch.setattr(conversation, "DELAYS", (0.01,) * 6)


@contextmanager
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
def swift_model():
    """A guided b0 without temporal blocks on 32 x 32 pixels: what is tested with it does not ask for more."""
    import torch
    from vivim import Vivim, VivimConfig

    torch.manual_seed(0)
    model = Vivim(VivimConfig(guided=True, input_size=(32, 32), temporal_stages=())).eval()
    torch.nn.init.normal_(model.guide_embed.weight, std=0.05)
    model.name, model.version = "swift", "0123456789ab"
    return model


@pytest.fixture
def dice() -> random.Random:
    return random.Random(7)


@pytest.fixture(scope="session")
def serving():
    """A function: the context of a server with these options."""
    return _serving


@pytest.fixture(scope="session")
def relay():
    """A function: the context of a relay that cuts off."""
    return _relay


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN
