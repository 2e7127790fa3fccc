"""The line before the one thread with the device: who waits, who is served, and whose client is to come back.

All of it belongs to the event loop, but for the work itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from vivim.remote.limits import Limits
from vivim.remote.protocol import Message, RemoteError, pack
from vivim.remote.server_connection import LastingLink, Link
from vivim.remote.transport import CloseCode, ServerConnection, broadcast

SHORTEST_NAME = 32
"""A job's name is as good as a password for its results: so many characters at least."""


@dataclass(eq=False)
class Job:
    """A request that was taken on.

    Attributes
    ----------
    name : str
        By which its client finds it again; empty where it ends with its connection.
    work : concurrent.futures.Future
        The work in the thread.
    done : asyncio.Future
        The same, for the event loop.
    """

    request: Message
    link: Link
    name: str
    work: Future[None]
    done: asyncio.Future[None] = field(init=False)
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.done = asyncio.wrap_future(self.work)

    async def told(self, connection: ServerConnection, seen: int) -> None:
        """Wait until all has been said on a connection."""
        if isinstance(self.link, LastingLink):
            await self.link.tell(connection, seen)
        else:
            await asyncio.wait([self.done])


class Line:
    """Takes requests on, has them done one after another, and keeps named ones for clients that were cut off.

    Parameters
    ----------
    limits : Limits
        How many, and how long.
    do : callable
        Does a request, in the one thread.
    """

    def __init__(self, limits: Limits, do: Callable[[Message, Link], None]) -> None:
        self._limits, self._do = limits, do
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vivim-serve")
        self._line: list[Job] = []
        self._named: dict[str, Job] = {}

    def join(self, request: Message, connection: ServerConnection) -> Job:
        """The job of a request: a new one at the end of the line, or that which its client had to leave.

        Raises
        ------
        RemoteError
            If the line is full, or another request has this name.
        """
        name = request.text("job", 64) if request.kind == "finetune" else ""
        if name and len(name) < SHORTEST_NAME:
            raise RemoteError("The name of a job is too short.")
        job = self._named.get(name)
        if job is not None:
            self._return(job, request, connection)
        else:
            job = self._enlist(request, connection, name)
        self._say_places()
        return job

    async def leave(self, job: Job, connection: ServerConnection) -> None:
        """A connection is closed: end its job, or keep it a while for a client that was cut off."""
        if job.link.connection is not connection:
            return  # the client is back on another one
        if job.name and connection.close_code == CloseCode.ABNORMAL_CLOSURE:
            job.link.connection = None
            later = asyncio.get_running_loop().call_later
            job.timer = later(self._limits.away_seconds, self._forget, job)
            self._forget_oldest()
            return
        self._forget(job)
        await asyncio.wait([job.done])  # it ends within a block of the network

    def close(self) -> None:
        """End all jobs, and the thread."""
        for job in [*self._line, *self._named.values()]:
            self._forget(job)
        self._thread.shutdown()

    def _enlist(self, request: Message, connection: ServerConnection, name: str) -> Job:
        if len(self._line) >= self._limits.queue:
            raise RemoteError("The server has too much to do. Try again in some minutes.", again=True)
        link = (LastingLink if name else Link)(connection, self._limits.answer_seconds)
        job = Job(request, link, name, self._thread.submit(self._do, request, link))
        job.done.add_done_callback(lambda _: self._ended(job))
        self._line.append(job)
        if name:
            self._named[name] = job
        return job

    def _return(self, job: Job, request: Message, connection: ServerConnection) -> None:
        if _work_of(request) != _work_of(job.request):
            raise RemoteError("Another request has this name.")
        if job.timer is not None:
            job.timer.cancel()
        if job.link.connection is not None:  # its end has not been noticed yet
            job.link.connection.transport.abort()
        job.link.connection = connection

    def _ended(self, job: Job) -> None:
        self._line.remove(job)
        self._say_places()
        self._forget_oldest()

    def _forget(self, job: Job) -> None:
        if job.timer is not None:
            job.timer.cancel()
        self._named.pop(job.name, None)
        job.link.stop.set()
        job.work.cancel()

    def _forget_oldest(self) -> None:
        """Keep only so many results for clients that are away."""
        kept = [job for job in self._named.values() if job.done.done() and job.link.connection is None]
        for job in kept[: max(0, len(kept) - self._limits.kept)]:
            self._forget(job)

    def _say_places(self) -> None:
        """Tell everybody in line how many are before; nobody is waited for."""
        for ahead, job in enumerate(self._line):
            if job.link.connection is not None:
                broadcast([job.link.connection], pack("waiting", ahead=ahead))


def _work_of(request: Message) -> tuple[object, bytes]:
    """What a request asks for, whatever its client has seen of it already."""
    return {key: value for key, value in request.values.items() if key != "seen"}, request.payload
