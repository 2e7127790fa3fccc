"""A conversation that outlives its connection: reports wait for a client that comes back, questions are asked again.

The job's thread reports and asks; the event loop keeps what was reported, and tells it to whoever is there. A report is
kept until the job is forgotten, `KEPT` of them at most, so that memory does not grow with the length of the job.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vivim.predict import Stopped, check
from vivim.remote.link import Gone, Link
from vivim.remote.protocol import pack
from vivim.remote.transport import ConnectionClosed, ServerConnection

T = TypeVar("T")

KEPT = 4096
"""Reports kept of one job, the latest; a fine-tune makes some hundreds."""
POLL = 0.05
"""Seconds between two looks for a client that is away."""


class LastingLink(Link):
    """One client, over as many connections as it takes."""

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        super().__init__(connection, seconds)
        self._reports: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._end: Sequence[bytes] | None = None
        self._count = 0
        self._news = asyncio.Event()

    # -- in the job's thread --------------------------------------------------------------------------------------

    def report(self, kind: str, **values: Any) -> None:
        """Keep a numbered message for the client, and go on.

        Raises
        ------
        Stopped
            If the client has gone for good.
        """
        check(self.stop)
        self._count += 1
        self._loop.call_soon_threadsafe(self._keep, self._count, pack(kind, number=self._count, **values))

    def converse(self, talk: Callable[[], T]) -> T:
        """Do what is made of several messages, from its beginning on another connection where one breaks.

        Raises
        ------
        Stopped
            If the client has gone for good.
        RemoteError
            If it stays away too long.
        """
        while True:
            connection = self.connection
            try:
                return talk()
            except Gone:
                self._await_another(connection)

    def end(self, messages: Sequence[bytes]) -> None:
        """Keep the last of it for the client: whole, on whichever connection asks."""
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

    async def tell(self, connection: ServerConnection, seen: int) -> None:
        """Tell all that comes after report number `seen`, to the end; stops where the connection breaks."""
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
            return  # whoever comes back is told the rest

    def _keep(self, number: int, message: bytes) -> None:
        self._reports.append((number, message))
        self._news.set()

    def _finish(self, messages: Sequence[bytes]) -> None:
        self._end = messages
        self._news.set()
