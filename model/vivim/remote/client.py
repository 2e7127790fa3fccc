"""The client: `propose` and `finetune` on a device ``remote:https://host:port``, with the events of the local path.

Masks go into the session as they arrive, through its gate. A lost connection is made again, and the rest asked for.
"""

import contextlib
import secrets
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivim.finetuning.events import FinetuneEvent, Finished, Scored, Trained, Waiting, from_line
from vivim.imaging.roi import size_of, uncrop
from vivim.inference.proposals import ProposeEvent, ProposeOptions
from vivim.network import Vivim
from vivim.registry.info import session_key
from vivim.remote.client_connection import Conversation, Retrying, SessionAnswers
from vivim.remote.limits import Limits
from vivim.remote.protocol import (
    HAVE,
    KNOWN,
    WANTED,
    Message,
    RemoteError,
    digest_of,
    expand,
    model_from,
    pack,
    squeeze,
)
from vivim.session import Session
from vivim.utils.cancellation import Stopped
from vivim.utils.json_types import fits
from vivim.utils.time_left import TimeLeft


def propose(
    session: Session, model: Vivim, device: str, options: ProposeOptions, stop: threading.Event | None
) -> Iterator[ProposeEvent]:
    """Propose masks on a server, see `vivim.propose`. Without `keep` the masks that arrive are dropped.

    While the client waits in the queue or for a new connection, events have a `note`. Raises `RemoteError` if the
    server refuses, breaks off before every frame was sent, or the connection is lost for good. What arrived is kept.
    """
    start, keep, batch_size = options.start, options.keep, options.batch_size
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    if keep:
        session.take_classes(model.classes)
    known, taken = session.vouched_frames(), set(session.frames_with("corrected", "accepted"))
    todo = set(range(len(session)) if options.frames is None else options.frames) - taken
    missing = todo - set(options.have)
    if keep and (damaged := taken.difference(known)):
        yield ProposeEvent.skipping(damaged, len(missing))
    if not missing:
        return
    flags, total = _flags(session, known), len(missing)
    flags[list(todo)] |= WANTED
    flags[list(todo - missing)] |= HAVE
    values = {
        "digest": digest_of(model),
        "sessions": [_described(session)],
        "start": start,
        "batch_size": batch_size,
        "clip_length": options.clip_length,
        "guided": int(options.guided),
        "windows": options.windows,
        "precision": options.precision,
    }
    talk = Conversation(
        device, lambda: pack("propose", squeeze(flags), **values), SessionAnswers([session], model, stop)
    )
    time_left, done = TimeLeft(), 0
    with contextlib.suppress(Stopped):
        for message in talk.messages():
            if isinstance(message, Retrying) or message.kind != "mask":
                yield ProposeEvent(start, False, done, total, None, _note(message))
                continue
            t, mask, uncertainties = _proposal(message, session, missing, model.config.num_classes)
            written = keep and session.propose(t, mask, model.version or model.name, **uncertainties)
            flags[t] |= HAVE
            missing.discard(t)
            talk.failures, done = 0, done + 1
            damaged_here = (t,) if keep and not written and session.problem(t) else ()
            yield ProposeEvent(t, written, done, total, time_left(done, total), damaged=damaged_here)
        if missing:
            raise RemoteError(
                f"The server says that it is done, but {len(missing)} of {total} frames did not arrive. What arrived "
                "is kept: start again, or choose another device."
            )


def finetune(
    sessions: Sequence[Session],
    model: Vivim,
    scope: str,
    device: str,
    seed: int,
    stop: threading.Event | None = None,
) -> Iterator[FinetuneEvent | Trained]:
    """Fine-tune on a server, with the events of `vivim.finetuning.job.run`.

    The server goes on while the connection is lost, and sends what was missed on the next one. Where it has dropped the
    job, it starts the same job again, and events that were seen before are left out.
    """
    flags = np.concatenate([_flags(s, s.vouched_frames()) for s in sessions])
    values = {
        "job": secrets.token_hex(16),
        "digest": digest_of(model),
        "sessions": [_described(session) for session in sessions],
        "scope": scope,
        "seed": seed,
    }
    seen, trained = 0, _Weights(model)
    talk = Conversation(
        device,
        lambda: pack("finetune", squeeze(flags), seen=seen, **values),
        SessionAnswers(sessions, model, stop),
    )
    with contextlib.suppress(Stopped):
        for message in talk.messages():
            if isinstance(message, Retrying):
                yield Waiting(_note(message))
            elif message.kind == "event":
                number = message.number("number", 1, 2**31 - 1)
                if number > seen:
                    seen, talk.failures = number, 0
                    yield _event(message, sessions)
            elif message.kind in ("trained", "weights"):
                trained.take(message)
            else:
                yield Waiting(_note(message))
        yield Trained(trained.model(), trained.promoted)


class _Weights:
    """A new model that arrives in chunks."""

    def __init__(self, parent: Vivim) -> None:
        self._parent, self._size, self._data = parent, -1, bytearray()
        self.promoted = False

    def take(self, message: Message) -> None:
        """Add a chunk, never more than was announced. An announcement starts anew."""
        if message.kind == "trained":
            self._size, self._data = message.number("size", 1, Limits.model_bytes), bytearray()
            self.promoted = message.values.get("promoted") is True
        self._data += message.payload
        if len(self._data) > self._size:
            raise RemoteError("The server sent more weights than it announced. Every model is as it was.")

    def model(self) -> Vivim:
        """Return the new model, checked."""
        if len(self._data) != self._size:
            raise RemoteError("The server sent no whole model. Every model is as it was; try again.")
        model = model_from(bytes(self._data), Limits.input_pixels)
        if model.config != self._parent.config:
            raise RemoteError("The server sent another network than it was given. Every model is as it was.")
        if not fits(model.provenance.get("learned_from"), list[str]):
            raise RemoteError("The server sent a model of unclear origin. Every model is as it was.")
        return model


def _described(session: Session) -> dict[str, Any]:
    """Describe a session to a server: numbers, and the beginning of a digest of the pictures."""
    height, width = size_of(session.area, session.shape[1:])
    return {"frames": len(session), "height": height, "width": width, "key": session_key(session)}


def _flags(session: Session, known: Sequence[int]) -> NDArray[np.uint8]:
    flags = np.zeros(len(session), np.uint8)
    flags[list(known)] = KNOWN
    return flags


def _note(message: Message | Retrying) -> str:
    if isinstance(message, Retrying):
        return f"waiting for {message.host}, trying again in {message.seconds} s"
    if message.kind != "waiting":
        raise RemoteError("The server sent something that was not asked for. Is it of this version?")
    before = message.number("ahead", 0, 10_000)
    return f"the server is busy, {before} before you" if before else "the server gets ready"


def _proposal(
    message: Message, session: Session, missing: set[int], classes: int
) -> tuple[int, NDArray[np.uint8], dict[str, float | None]]:
    """Return frame, mask and uncertainties of a message, after checking that they were asked for."""
    t = message.number("frame", 0, len(session) - 1)
    uncertainties = {name: message.values.get(name) for name in ("uncertainty", "windows")}
    if t not in missing:
        raise RemoteError(f"The server sent frame {t}, which was not asked for.")
    mask = expand(message.payload, size_of(session.area, session.shape[1:]))
    if mask.max() > classes or not fits(uncertainties, dict[str, float | None]):
        raise RemoteError(f"The server sent a mask of frame {t} that this model cannot make.")
    return t, uncrop(mask, session.area, session.shape[1:]), uncertainties


def _event(message: Message, sessions: Sequence[Session]) -> FinetuneEvent:
    try:
        event = from_line(message.text("line", 2**15))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RemoteError("The server sent an event that cannot be read. Is it of this version?") from error
    if isinstance(event, Finished | Waiting):
        raise RemoteError("The server claims what is decided here. Every model is as it was.")
    for number, t, *_ in event.per_frame if isinstance(event, Scored) else ():
        if number >= len(sessions) or t >= len(sessions[number]):
            raise RemoteError("The server judged a frame that was not sent. Every model is as it was.")
    return event
