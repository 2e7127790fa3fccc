"""A server on a loopback socket, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
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
        assert began.wait(60)
        yield found["port"]
    finally:
        found["loop"].call_soon_threadsafe(found["until"].set)
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    from vivim.remote.limits import Limits

    with _serving(limits=Limits(attempts=10_000)) as number:
        yield number


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client knows the token, and does not wait long between attempts."""
    from vivim.remote import client_connection

    monkeypatch.setenv("VIVIM_REMOTE_TOKEN", TOKEN)
    monkeypatch.setattr(client_connection, "DELAYS", (0.01,) * 6)


@pytest.fixture
def dice() -> random.Random:
    return random.Random(7)


@pytest.fixture(scope="session")
def serving():
    """A function: the context of a server with these options."""
    return _serving


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN
