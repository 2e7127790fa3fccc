"""Links to clients for the thread of the jobs, which ask and wait while the event loop sends and receives."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as NoAnswer
from typing import Any, TypeVar

from vivim.remote.protocol import Message, RemoteError, pack, unpack
from vivim.remote.transport import ConnectionClosed, ServerConnection
from vivim.utils.cancellation import Stopped, check

T = TypeVar("T")


class Gone(Exception):
    """The connection broke, but its client may come back on another one."""


class Link:
    """Blocking conversation with a client from another thread than the event loop's, over one connection."""

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        self.connection: ServerConnection | None = connection
        """Connection to the client, or None while it is away."""
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self.stop = threading.Event()
        """Set when the client has gone for good, so that its job ends."""

    def send(self, kind: str, payload: bytes = b"", **values: Any) -> None:
        """Send a message, and wait while the client takes no more. Raises `Stopped` if it has gone."""
        self._wait(lambda connection: connection.send(pack(kind, payload, **values)))

    def receive(self, kind: str) -> Message:
        """Receive the next message, which must be of this kind. Raises as `send`."""
        message = unpack(self._wait(lambda connection: connection.recv()))
        if message.kind != kind:
            raise RemoteError(f"Expected {kind!r}, not {message.kind[:20]!r}.")
        return message

    def converse(self, talk: Callable[[], T]) -> T:
        """Run an exchange of several messages."""
        return talk()

    def ask(self, session: int, what: str, numbers: list[int]) -> list[bytes]:
        """Fetch squeezed pixels of some frames or masks of one session. Raises as `send`."""

        def talk() -> list[bytes]:
            self.send("need", session=session, what=what, numbers=numbers)
            return [self.receive("pixels").payload for _ in numbers]

        with self._lock:
            return self.converse(talk)

    def end(self, messages: Sequence[bytes]) -> None:
        """Send the last messages. Raises as `send`."""
        for message in messages:
            self._wait(lambda connection, last=message: connection.send(last))  # type: ignore[misc]

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


KEPT = 4096
"""Latest reports kept of one job. A fine-tune makes some hundreds."""
POLL = 0.05
"""Seconds between two checks for a client that is away."""


class LastingLink(Link):
    """Conversation with a client over as many connections as it takes."""

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        super().__init__(connection, seconds)
        self._reports: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._end: Sequence[bytes] | None = None
        self._count = 0
        self._news = asyncio.Event()

    # -- in the job's thread --------------------------------------------------------------------------------------

    def report(self, kind: str, **values: Any) -> None:
        """Keep a numbered message for the client, without waiting for it to be sent."""
        check(self.stop)
        self._count += 1
        self._loop.call_soon_threadsafe(self._keep, self._count, pack(kind, number=self._count, **values))

    def converse(self, talk: Callable[[], T]) -> T:
        """Run an exchange of several messages, again from its beginning where a connection breaks."""
        while True:
            connection = self.connection
            try:
                return talk()
            except Gone:
                self._await_another(connection)

    def end(self, messages: Sequence[bytes]) -> None:
        """Keep the last messages for the client, for whichever connection asks."""
        self._loop.call_soon_threadsafe(self._finish, messages)

    def _await_another(self, broken: ServerConnection | None) -> None:
        until = time.monotonic() + self._seconds
        while self.connection in (None, broken):
            if self.stop.wait(POLL):
                raise Stopped
            if time.monotonic() > until:
                raise self._no_answer()

    def _broken(self) -> Exception:
        return Gone()

    # -- in the event loop ----------------------------------------------------------------------------------------

    async def send_reports(self, connection: ServerConnection, seen: int) -> None:
        """Send all reports after number `seen`, to the last, or until the connection breaks."""
        try:
            while True:
                self._news.clear()
                for number, message in [report for report in self._reports if report[0] > seen]:
                    await connection.send(message)
                    seen = number
                if self._end is not None and not (self._reports and self._reports[-1][0] > seen):
                    break
                await self._news.wait()
            for message in self._end:
                await connection.send(message)
        except ConnectionClosed:
            return  # the next connection gets the rest

    def _keep(self, number: int, message: bytes) -> None:
        self._reports.append((number, message))
        self._news.set()

    def _finish(self, messages: Sequence[bytes]) -> None:
        self._end = messages
        self._news.set()
