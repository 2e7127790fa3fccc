"""One client as the job's thread sees it: it asks, and waits for the answer; the event loop does the talking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, TypeVar

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from vivim.predict import Stopped, check
from vivim.remote.protocol import Message, RemoteError, pack, unpack

T = TypeVar("T")


class Link:
    """Blocking conversation with a client, from another thread than the event loop's.

    Attributes
    ----------
    stop : threading.Event
        Set when the client has gone: whatever is done for it ends.
    """

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        self.connection, self._seconds = connection, seconds
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def send(self, kind: str, payload: bytes = b"", **values: Any) -> None:
        """Send a message; waits while the client takes no more.

        Raises
        ------
        Stopped
            If the client has gone.
        RemoteError
            If it takes too long.
        """
        self._wait(self.connection.send(pack(kind, payload, **values)))

    def receive(self, kind: str) -> Message:
        """The next message, which must be of this kind; raises as `send`."""
        message = unpack(self._wait(self.connection.recv()))
        if message.kind != kind:
            raise RemoteError(f"Expected {kind!r}, not {message.kind[:20]!r}.")
        return message

    def ask(self, session: int, what: str, numbers: list[int]) -> list[bytes]:
        """Squeezed pixels of some frames or masks of one session; raises as `send`."""
        with self._lock:
            self.send("need", session=session, what=what, numbers=numbers)
            return [self.receive("pixels").payload for _ in numbers]

    def _wait(self, talking: Coroutine[Any, Any, T]) -> T:
        if self.stop.is_set():
            talking.close()
        check(self.stop)
        future = asyncio.run_coroutine_threadsafe(talking, self._loop)
        try:
            return future.result(self._seconds)
        except NoAnswer as error:
            future.cancel()
            raise RemoteError(f"No answer for {self._seconds:.0f} s.", again=True) from error
        except ConnectionClosed as error:
            self.stop.set()
            raise Stopped from error
