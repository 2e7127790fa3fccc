"""One client as the job's thread sees it: it asks, and waits for the answer; the event loop does the talking."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, TypeVar

from vivim.predict import Stopped, check
from vivim.remote.protocol import Message, RemoteError, pack, unpack
from vivim.remote.transport import ConnectionClosed, ServerConnection

T = TypeVar("T")


class Gone(Exception):
    """The connection broke, but its client may come back on another one."""


class Link:
    """Blocking conversation with a client, from another thread than the event loop's; ends with its connection.

    Attributes
    ----------
    connection : ServerConnection or None
        To the client; None while it is away.
    stop : threading.Event
        Set when the client has gone for good: whatever is done for it ends.
    """

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        self.connection: ServerConnection | None = connection
        self._seconds = seconds
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
        self._wait(lambda connection: connection.send(pack(kind, payload, **values)))

    def receive(self, kind: str) -> Message:
        """The next message, which must be of this kind; raises as `send`."""
        message = unpack(self._wait(lambda connection: connection.recv()))
        if message.kind != kind:
            raise RemoteError(f"Expected {kind!r}, not {message.kind[:20]!r}.")
        return message

    def converse(self, talk: Callable[[], T]) -> T:
        """Do what is made of several messages, as one."""
        return talk()

    def ask(self, session: int, what: str, numbers: list[int]) -> list[bytes]:
        """Squeezed pixels of some frames or masks of one session; raises as `send`."""

        def talk() -> list[bytes]:
            self.send("need", session=session, what=what, numbers=numbers)
            return [self.receive("pixels").payload for _ in numbers]

        with self._lock:
            return self.converse(talk)

    def end(self, messages: Sequence[bytes]) -> None:
        """Say the last of it; raises as `send`."""
        for message in messages:
            self._wait(lambda connection, said=message: connection.send(said))  # type: ignore[misc]

    def _wait(self, talking: Callable[[ServerConnection], Coroutine[Any, Any, T]]) -> T:
        check(self.stop)
        connection = self.connection
        if connection is None:
            raise Gone
        future = asyncio.run_coroutine_threadsafe(talking(connection), self._loop)
        try:
            return future.result(self._seconds)
        except NoAnswer as error:
            future.cancel()
            raise self._no_answer() from error
        except ConnectionClosed as error:
            raise self._broken() from error

    def _no_answer(self) -> RemoteError:
        return RemoteError(f"No answer for {self._seconds:.0f} s.", again=True)

    def _broken(self) -> Exception:
        self.stop.set()
        return Stopped()
