"""All names used of ``websockets``, with one error that says how to install it."""

from vivim.remote.protocol import MISSING, RemoteError

try:
    from websockets.asyncio.server import ServerConnection, broadcast, serve  # noqa: F401
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus  # noqa: F401
    from websockets.frames import CloseCode  # noqa: F401
    from websockets.http11 import Request, Response  # noqa: F401
    from websockets.sync.client import ClientConnection, connect  # noqa: F401
except ImportError as error:
    raise RemoteError(MISSING) from error
