"""All names used of ``websockets``, with one error that says how to install it."""

from vivim.remote.protocol import MISSING, RemoteError

try:
    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
    from websockets.frames import CloseCode
    from websockets.http11 import Request, Response
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise RemoteError(MISSING) from error

__all__ = [
    "ClientConnection",
    "CloseCode",
    "ConnectionClosed",
    "InvalidHandshake",
    "InvalidMessage",
    "InvalidStatus",
    "Request",
    "Response",
    "ServerConnection",
    "broadcast",
    "connect",
    "serve",
]
