"""The server of ``vivim serve``: it takes requests on a socket and hands them to the thread that owns the device.

Any client with the token may ask. The log holds only the kind of a request, its duration and how it ended.
"""

import asyncio
import hmac
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from vivim.devices import is_out_of_memory, out_of_memory
from vivim.errors import DeviceError, VivimError
from vivim.remote.config import client_of
from vivim.remote.handlers import KINDS, RequestHandler
from vivim.remote.job_queue import JobQueue
from vivim.remote.limits import Attempts, Limits
from vivim.remote.protocol import MESSAGE, PATH, Message, RemoteError, pack, unpack
from vivim.remote.server_connection import Link
from vivim.remote.transport import ConnectionClosed, Request, Response, ServerConnection, serve
from vivim.utils.cancellation import Stopped

_log = logging.getLogger(__name__)
LONGEST = 2000
"""Most characters of an error message to a client."""
_wire = logging.getLogger(f"{__name__}.wire")
_wire.setLevel(logging.WARNING)  # its DEBUG would write headers, the token among them


@dataclass(frozen=True)
class Serving:
    """Configuration of a server."""

    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 8765
    tls: ssl.SSLContext | None = None
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    proxies: frozenset[str] = frozenset()
    """Addresses of proxies whose headers are trusted."""


class Server:
    """One device with a queue of jobs."""

    def __init__(self, serving: Serving) -> None:
        self._serving, self._limits = serving, serving.limits
        self._handler = RequestHandler(serving.device, serving.limits)
        self._attempts = Attempts(serving.limits.attempts)
        self._wrong_tokens = Attempts(serving.limits.wrong_tokens)
        self._queue = JobQueue(serving.limits, self._handle)
        self._clients = 0

    async def run(self, until: asyncio.Event, ready: Callable[[int], None]) -> None:
        """Serve until the event is set, and call `ready` with the port once clients can connect."""
        serving = self._serving
        try:
            async with serve(
                self._talk,
                serving.host,
                serving.port,
                ssl=serving.tls,
                process_request=self._admit,
                max_size=MESSAGE,
                max_queue=4,
                compression=None,  # pixels are compressed already; and no bombs
                server_header=None,
                logger=_wire,
                open_timeout=10,
            ) as listening:
                ready(next(iter(listening.sockets)).getsockname()[1])
                await until.wait()
        finally:
            self._queue.close()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a connection before anything is read: too many attempts or clients, a wrong path or token."""
        forwarded = request.headers.get_all("X-Forwarded-For")
        client = client_of(str(connection.remote_address[0]), forwarded, self._serving.proxies)
        if not self._attempts.allow(client) or self._wrong_tokens.full(client):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many attempts; wait a minute.\n")
        if request.path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, "Not a path of this server.\n")
        given = request.headers.get_all("Authorization")
        expected = f"Bearer {self._serving.token}"
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), expected.encode()):
            self._wrong_tokens.add(client)
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Wrong token.\n")
        if self._clients >= self._limits.clients:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients; try again later.\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        if self._clients >= self._limits.clients:  # several were admitted at the same moment
            await connection.close(1013, "too many clients")
            return
        self._clients += 1
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                request = unpack(await connection.recv())
            await self._take(request, connection)
        except RemoteError as error:
            await _refuse(connection, str(error), error.again)
        except (TimeoutError, ConnectionClosed):
            _log.info("a client went before it asked for anything")
        finally:
            self._clients -= 1

    async def _take(self, request: Message, connection: ServerConnection) -> None:
        """Queue a request and wait until it is done or its client is gone."""
        if request.kind not in KINDS:
            raise RemoteError(f"A request is one of {', '.join(KINDS)}.")
        seen = request.number("seen", 0, 2**31 - 1) if "seen" in request.values else 0
        job = self._queue.join(request, connection)
        gone = asyncio.create_task(connection.wait_closed())
        told = asyncio.create_task(job.reported(connection, seen))
        try:
            await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
            await connection.close()  # answered by a client that has all of it
        finally:
            gone.cancel()
            told.cancel()
            await self._queue.leave(job, connection)

    def _handle(self, request: Message, link: Link) -> None:
        """Handle a request in the thread that owns the device, and report how it ends to log and client."""
        began, outcome = time.monotonic(), "done"
        try:
            self._handler.handle(request, link)
        except Stopped:
            outcome = "the client has gone"
        except VivimError as error:
            outcome = "refused" if isinstance(error, RemoteError) else type(error).__name__
            _send_error(link, error)
        except Exception as error:  # this client is told, the others are served
            if is_out_of_memory(error):
                outcome = DeviceError.__name__
                _send_error(link, out_of_memory("the server"))
            else:
                _log.exception("%s failed", request.kind)
                outcome = "failed"
                name = type(error).__name__
                _send_error(link, RemoteError(f"The server met an unexpected {name}; its log says more."))
        _log.info("%s: %s after %.1f s", request.kind, outcome, time.monotonic() - began)


def _send_error(link: Link, error: VivimError) -> None:
    again, device = isinstance(error, RemoteError) and error.again, isinstance(error, DeviceError)
    try:
        link.end([pack("error", message=str(error)[:LONGEST], again=again, device=device)])
    except (Stopped, RemoteError):
        _log.info("a client went before it could be told what was wrong")


async def _refuse(connection: ServerConnection, message: str, again: bool) -> None:
    try:
        await connection.send(pack("error", message=message, again=again))
    except ConnectionClosed:
        _log.info("a client went before it could be told what was wrong")
