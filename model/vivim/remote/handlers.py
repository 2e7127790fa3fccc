"""Handler of requests: the local generators run on a client's session, in the thread that owns the device."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from vivim.remote.limits import Limits
from vivim.remote.protocol import (
    CHUNK,
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
    weights_of,
)
from vivim.remote.remote_session import RemoteSession, received_shapes
from vivim.remote.server_connection import LastingLink, Link
from vivim.utils.cancellation import check
from vivim.utils.lru_cache import LRUCache

if TYPE_CHECKING:
    from vivim.network import Vivim

KINDS = ("propose", "finetune")
MOST_WINDOWS = 64
"""Most windows in a batch that a client may ask for."""


class RequestHandler:
    """Handler of one request at a time, which keeps the latest models in memory and nothing on disk."""

    def __init__(self, device: str, limits: Limits) -> None:
        self._device, self._limits = device, limits
        self._models: LRUCache[str, Vivim] = LRUCache(limits.models)

    def handle(self, request: Message, link: Link) -> None:
        """Handle one request, and send the results. Raises `Stopped` if the client has gone."""
        check(link.stop)
        shapes = received_shapes(request, self._limits)
        flags = _flags(request.payload, sum(shape[0] for shape, _ in shapes))
        digest = request.text("digest", 64)
        model = self._model(digest, link)
        self._check_memory(request, len(shapes), model)
        sessions, first = [], 0
        for number, (shape, key) in enumerate(shapes):
            part = flags[first : first + shape[0]]
            sessions.append(RemoteSession(number, shape, part, key, model.config.input_size, link.ask))
            first += shape[0]
        if request.kind == "propose":
            self._propose(sessions[0], model, request, link)
            link.end([pack("done")])
        else:
            assert isinstance(link, LastingLink)
            self._finetune(sessions, model, request, link)

    def _check_memory(self, request: Message, sessions: int, model: Vivim) -> None:
        """Refuse a request that would take too much memory at once, and say how much is allowed."""
        pixels = model.config.input_size[0] * model.config.input_size[1]
        if request.kind == "finetune":
            if sessions * pixels > self._limits.session_pixels:
                most = max(1, self._limits.session_pixels // pixels)
                raise RemoteError(f"This server learns from at most {most} videos at once with this model.")
            return
        at_once = request.number("clip_length", 1, 64) * (_batch_size(request) or 1)
        if at_once * pixels > self._limits.window_pixels:
            most = max(1, self._limits.window_pixels // pixels)
            raise RemoteError(
                f"This server takes at most {most} frames of this model at once. Choose a shorter clip length"
                f"{' or a smaller batch' if _batch_size(request) else ''}."
            )

    def _propose(self, session: RemoteSession, model: Vivim, request: Message, link: Link) -> None:
        from vivim.devices import PRECISIONS
        from vivim.inference.proposals import ProposeOptions, propose
        from vivim.inference.sliding_windows import MODES

        options = ProposeOptions(
            frames=session.wanted,
            have=session.have,
            start=request.number("start", 0, len(session) - 1),
            clip_length=request.number("clip_length", 1, 64),
            batch_size=_batch_size(request),
            guided=bool(request.number("guided", 0, 1)),
            windows=_one_of(request, "windows", MODES),
            precision=_one_of(request, "precision", PRECISIONS),
        )
        # a RemoteSession offers all that proposing asks of a session
        events = propose(session, model, options, device=self._device, stop=link.stop)  # type: ignore[arg-type]
        with closing(events):  # type: ignore[type-var]
            for _ in events:
                assert session.latest is not None
                t, mask, uncertainties = session.latest
                link.send("mask", squeeze(mask), frame=t, **uncertainties)
        check(link.stop)

    def _finetune(
        self, sessions: list[RemoteSession], model: Vivim, request: Message, link: LastingLink
    ) -> None:
        from vivim.finetuning.events import Trained, to_line
        from vivim.finetuning.job import SCOPES, run

        seed = request.number("seed", 0, 2**31 - 1)
        scope = _one_of(request, "scope", SCOPES)
        events = run(sessions, model, scope, self._device, seed)  # type: ignore[arg-type]  # as above
        with closing(events):  # type: ignore[type-var]
            for event in events:
                if isinstance(event, Trained):
                    data = weights_of(event.model)
                    chunks = [pack("weights", data[i : i + CHUNK]) for i in range(0, len(data), CHUNK)]
                    link.end(
                        [pack("trained", promoted=event.promoted, size=len(data)), *chunks, pack("done")]
                    )
                else:
                    link.report("event", line=to_line(event))

    def _model(self, digest: str, link: Link) -> Vivim:
        """Return the model of this digest from memory, or from the client, which sends it once."""
        model = self._models.get(digest)
        if model is None:
            data = link.converse(lambda: _receive_weights(link, self._limits.model_bytes))
            model = model_from(data, self._limits.input_pixels)
            if digest_of(model) != digest:
                raise RemoteError("The weights that arrived are not those announced.", again=True)
            self._models.put(digest, model)
        return model


def _receive_weights(link: Link, most: int) -> bytes:
    """Receive the weights of the client's model."""
    link.send("model")
    size = link.receive("model").number("size", 1, most)
    data = bytearray()
    while len(data) < size:
        piece = link.receive("weights").payload
        if not piece or len(data) + len(piece) > size:
            raise RemoteError("The weights that arrived are not as long as announced.")
        data += piece
    return bytes(data)


def _flags(payload: bytes, count: int) -> np.ndarray:
    flags = expand(payload, (count,))
    if (flags > (WANTED | KNOWN | HAVE)).any():
        raise RemoteError("A frame has a flag that does not exist.")
    return flags


def _batch_size(request: Message) -> int | None:
    """Windows in a batch, or None where the client does not say."""
    return None if request.values.get("batch_size") is None else request.number("batch_size", 1, MOST_WINDOWS)


def _one_of(request: Message, name: str, choices: tuple[str, ...]) -> str:
    value = request.text(name)
    if value not in choices:
        raise RemoteError(f"{name!r} must be one of {', '.join(choices)}.")
    return value
