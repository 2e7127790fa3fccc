"""Conversation with a server, over as many connections as it takes."""

import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vivim.inference.session_inputs import ResizedFrames, resized_mask
from vivim.network import Vivim
from vivim.remote.config import authority, client_token, split_address
from vivim.remote.protocol import (
    CHUNK,
    MESSAGE,
    PATH,
    Message,
    RemoteDeviceError,
    RemoteError,
    pack,
    squeeze,
    unpack,
    weights_of,
)
from vivim.remote.transport import (
    ClientConnection,
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    connect,
)
from vivim.session import Session
from vivim.utils.cancellation import check

DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0, 60.0, 60.0, 60.0)
"""Seconds before each new attempt after a connection that worked was lost, five minutes in all."""
OPEN_SECONDS = 5.0
"""Longest time of one attempt, during which a request to stop has to wait."""
POLL = 0.1
"""Seconds within which a request to stop is obeyed."""
OTHER_NAME = (62, 64)
"""Errors of OpenSSL for a certificate of another host or address. Source: its x509_vfy.h."""

_wire = logging.getLogger(f"{__name__}.wire")
_wire.setLevel(logging.WARNING)  # its DEBUG would write headers, the token among them


class ConnectionLost(Exception):
    """The connection broke or could not be made, and trying again may help."""


@dataclass(frozen=True)
class Retrying:
    """The connection is lost, and another is tried in so many seconds."""

    host: str
    seconds: int


class SessionAnswers:
    """Answers to a server's questions: frames, masks that a person vouches for, and the model."""

    def __init__(self, sessions: Sequence[Session], model: Vivim, stop: threading.Event | None) -> None:
        self.stop = stop
        self._sessions, self._model, self._size = sessions, model, model.config.input_size
        self._readers = [ResizedFrames(session, self._size, stop=stop) for session in sessions]
        self._known = [set(session.vouched_frames()) for session in sessions]

    def to(self, message: Message) -> Iterator[bytes]:
        """Yield the messages that answer one of the server's, which may ask for no pixels outside the request."""
        if message.kind == "model":
            data = weights_of(self._model)
            yield pack("model", size=len(data))
            yield from (pack("weights", data[i : i + CHUNK]) for i in range(0, len(data), CHUNK))
            return
        session = message.number("session", 0, len(self._sessions) - 1)
        what, numbers = message.text("what"), message.values.get("numbers")
        allowed = {"frames": range(len(self._sessions[session])), "masks": self._known[session]}.get(what, ())
        asked: list[Any] = numbers if isinstance(numbers, list) else [None]
        if not all(type(t) is int and t in allowed for t in asked) or len(set(asked)) < len(asked):
            raise RemoteError("The server asked for pictures that are no part of the request.")
        for t in asked:
            if what == "frames":
                yield pack("pixels", squeeze(self._readers[session](t)))
            else:
                yield pack("pixels", squeeze(resized_mask(self._sessions[session], t, self._size)))


def _trusted() -> ssl.SSLContext:
    """Make the TLS context of trusted certificates."""
    file = authority()
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # of OpenSSL too
        raise RemoteError(
            f"The certificate of your own authority, {file}, cannot be read ({error}). Name a PEM file in "
            "VIVIM_REMOTE_CA, or in the settings under Certificate."
        ) from error


class Conversation:
    """One request to a device ``"remote:https://host:port"``, over as many connections as it takes.

    ``request()`` makes the request for what has not arrived yet, and `answers` those to the server's questions.
    `failures` are the connections lost in a row: the reader of `messages` sets it to 0 when something new has arrived.
    """

    def __init__(self, device: str, request: Callable[[], bytes], answers: SessionAnswers) -> None:
        self._host, self._port, self._tls = split_address(device)
        self._request, self._answers = request, answers
        self._worked = False
        self.failures = 0

    def messages(self) -> Iterator[Message | Retrying]:
        """Yield all messages that are no questions, and `Retrying` once a second before a new attempt."""
        while True:
            try:
                with self._connected() as connection:
                    connection.send(self._request())
                    self._worked = True
                    yield from self._until_done(connection)
                    return
            except (ConnectionLost, ConnectionClosed) as error:
                if not self._worked or self.failures == len(DELAYS):
                    raise RemoteError(self._lost(error)) from error
                self.failures += 1
                yield from self._waiting(DELAYS[self.failures - 1])

    def _until_done(self, connection: ClientConnection) -> Iterator[Message]:
        while True:
            message = unpack(self._received(connection))
            if message.kind == "done":
                return
            if message.kind == "error":
                if message.values.get("again") is True and self.failures < len(DELAYS):
                    raise ConnectionLost(message.text("message", 2000))
                kind = RemoteDeviceError if message.values.get("device") is True else RemoteError
                raise kind(message.text("message", 2000))
            if message.kind in ("need", "model"):
                for answer in self._answers.to(message):
                    check(self._answers.stop)
                    connection.send(answer)
            else:
                yield message

    def _received(self, connection: ClientConnection) -> bytes | str:
        while True:
            check(self._answers.stop)
            try:
                return connection.recv(POLL)
            except TimeoutError:
                continue

    def _connected(self) -> ClientConnection:
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            return connect(
                f"{'wss' if self._tls else 'ws'}://{host}:{self._port}{PATH}",
                ssl=_trusted() if self._tls else None,
                additional_headers={"Authorization": f"Bearer {client_token()}"},
                user_agent_header=None,
                compression=None,
                proxy=None,  # the token is for the server alone
                max_size=MESSAGE,
                open_timeout=OPEN_SECONDS,
                close_timeout=1,
                logger=_wire,
            )
        except InvalidStatus as error:
            raise self._refused(error.response.status_code) from error
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error) from error
        except InvalidMessage as error:
            hint = "" if self._tls else "; with TLS its address begins with https"
            raise ConnectionLost(f"{error}{hint}") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise ConnectionLost(str(error) or type(error).__name__) from error

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Exception:
        what = f"The certificate of {self._host} is not trusted ({error.verify_message.rstrip('.')}). "
        if error.verify_code in OTHER_NAME:
            return RemoteError(f"{what}Give the server's address by the name that is in its certificate.")
        return RemoteError(f"{what}Ask its keeper for the authority's file, and name it in VIVIM_REMOTE_CA.")

    def _refused(self, status: int) -> Exception:
        if status in (429, 503):
            return ConnectionLost(
                "it is busy" if status == 503 else "it has been asked too often within a minute"
            )
        if status == 401:
            return RemoteError(
                f"{self._host} does not accept this token. Ask its keeper for the present one."
            )
        return RemoteError(f"{self._host}:{self._port} is no Vivim server of this version (answer {status}).")

    def _lost(self, error: Exception) -> str:
        what = "The connection to" if self._worked else "No connection to"
        then = " is lost" if self._worked else ""
        return (
            f"{what} {self._host}:{self._port}{then} ({error}). Everything that arrived is kept: start again when the "
            "server can be reached, or choose another device."
        )

    def _waiting(self, seconds: float) -> Iterator[Retrying]:
        until, told = time.monotonic() + seconds, -1
        while (left := until - time.monotonic()) > 0:
            check(self._answers.stop)
            if math.ceil(left) != told:
                told = math.ceil(left)
                yield Retrying(self._host, told)
            time.sleep(min(left, POLL))
