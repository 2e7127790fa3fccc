"""Queue of jobs for the one thread that owns the device.

All of it belongs to the event loop, except the work itself.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from vivim.remote.limits import Limits
from vivim.remote.protocol import Message, RemoteError, pack
from vivim.remote.server_connection import LastingLink, Link
from vivim.remote.transport import CloseCode, ServerConnection, broadcast

SHORTEST_NAME = 32
"""Fewest characters of a job's name, which gives access to its results like a password."""


@dataclass(eq=False)
class Job:
    """A request in the queue, in work, or done."""

    request: Message
    link: Link
    name: str
    """Name by which its client finds it again, or empty where it ends with its connection."""
    work: Future[None]
    done: asyncio.Future[None] = field(init=False)
    """`work` for the event loop."""
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.done = asyncio.wrap_future(self.work)

    async def reported(self, connection: ServerConnection, seen: int) -> None:
        """Wait until all messages have been sent on a connection."""
        if isinstance(self.link, LastingLink):
            await self.link.send_reports(connection, seen)
        else:
            await asyncio.wait([self.done])


class JobQueue:
    """Queue of jobs that `do` works through in one thread. Named ones are kept for clients that were cut off."""

    def __init__(self, limits: Limits, do: Callable[[Message, Link], None]) -> None:
        self._limits, self._do = limits, do
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vivim-serve")
        self._queue: list[Job] = []
        self._named: dict[str, Job] = {}

    def join(self, request: Message, connection: ServerConnection) -> Job:
        """Return the job of a request: a new one at the end of the queue, or the one its client was cut off from."""
        name = request.text("job", 64) if request.kind == "finetune" else ""
        if name and len(name) < SHORTEST_NAME:
            raise RemoteError("The name of a job is too short.")
        job = self._named.get(name)
        if job is not None:
            self._take_back(job, request, connection)
        else:
            job = self._add(request, connection, name)
        self._send_places()
        return job

    async def leave(self, job: Job, connection: ServerConnection) -> None:
        """End the job of a closed connection, or keep it a while for a client that was cut off."""
        if job.link.connection is not connection:
            return  # the client is back on another one
        if job.name and connection.close_code == CloseCode.ABNORMAL_CLOSURE:
            job.link.connection = None
            later = asyncio.get_running_loop().call_later
            job.timer = later(self._limits.away_seconds, self._drop, job)
            self._drop_oldest()
            return
        self._drop(job)
        await asyncio.wait([job.done])  # it ends within a block of the network

    def close(self) -> None:
        """End all jobs, and the thread."""
        for job in [*self._queue, *self._named.values()]:
            self._drop(job)
        self._thread.shutdown()

    def _add(self, request: Message, connection: ServerConnection, name: str) -> Job:
        if len(self._queue) >= self._limits.queue:
            raise RemoteError("The server has too much to do. Try again in some minutes.", again=True)
        link = (LastingLink if name else Link)(connection, self._limits.answer_seconds)
        job = Job(request, link, name, self._thread.submit(self._do, request, link))
        job.done.add_done_callback(lambda _: self._ended(job))
        self._queue.append(job)
        if name:
            self._named[name] = job
        return job

    def _take_back(self, job: Job, request: Message, connection: ServerConnection) -> None:
        if _work_of(request) != _work_of(job.request):
            raise RemoteError("Another request has this name.")
        if job.timer is not None:
            job.timer.cancel()
        if job.link.connection is not None:  # its end has not been noticed yet
            job.link.connection.transport.abort()
        job.link.connection = connection

    def _ended(self, job: Job) -> None:
        self._queue.remove(job)
        self._send_places()
        self._drop_oldest()

    def _drop(self, job: Job) -> None:
        if job.timer is not None:
            job.timer.cancel()
        self._named.pop(job.name, None)
        job.link.stop.set()
        job.work.cancel()

    def _drop_oldest(self) -> None:
        """Drop the oldest results beyond those kept for clients that are away."""
        kept = [job for job in self._named.values() if job.done.done() and job.link.connection is None]
        for job in kept[: max(0, len(kept) - self._limits.kept)]:
            self._drop(job)

    def _send_places(self) -> None:
        """Tell all waiting clients how many are before them, without waiting for the messages to be sent."""
        for ahead, job in enumerate(self._queue):
            if job.link.connection is not None:
                broadcast([job.link.connection], pack("waiting", ahead=ahead))


def _work_of(request: Message) -> tuple[object, bytes]:
    """Part of a request that stays the same when its client comes back."""
    return {key: value for key, value in request.values.items() if key != "seen"}, request.payload
