"""What a client does with a server that is broken or means harm: one sentence, nothing lost, nothing given away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vivim import Session, finetune, propose
from vivim.devices import REMOTE
from vivim.errors import DeviceError, VivimError
from vivim.registry.registry import list_models
from vivim.remote import client_connection
from vivim.remote.protocol import Message, RemoteError, pack, squeeze, unpack, weights_of

DEVICE = f"{REMOTE}http://127.0.0.1:1"
BLANK = squeeze(np.zeros((72, 88), np.uint8))


class Line:
    """A connection that says what it is told to, and keeps what it hears."""

    def __init__(self, says: list[bytes | str]) -> None:
        self._says, self.heard = iter(says), list[Message]()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def send(self, data: bytes) -> None:
        self.heard.append(unpack(data))

    def recv(self, timeout: float) -> bytes | str:
        try:
            return next(self._says)
        except StopIteration:
            raise client_connection.ConnectionLost("it said no more") from None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Line]:
    """A function: the next connection says these messages."""
    monkeypatch.setattr(client_connection, "DELAYS", ())

    def says(*messages: bytes | str) -> Line:
        line = Line([*messages])
        monkeypatch.setattr(client_connection.Conversation, "_connected", lambda _: line)
        return line

    return says


@pytest.fixture
def two(session: Session, sample) -> Session:
    """A session with two corrected frames."""
    for t in (3, 8):
        session.correct(t, sample.masks[t])
    return session


@pytest.mark.parametrize(
    "numbers",
    [[[]], [{}], [True], [3.0], [None], ["3"], [-1], [12], [3, 3], "3", None, {"3": 3}, [[3]], [10**30]],
)
@pytest.mark.parametrize("what", ["frames", "masks"])
def test_pictures_are_given_only_by_their_numbers(server, two, swift_model, what, numbers) -> None:
    line = server(pack("need", session=0, what=what, numbers=numbers))
    with pytest.raises(RemoteError, match="no part of the request"):
        list(propose(two, swift_model, device=DEVICE))
    assert [message.kind for message in line.heard] == ["propose"]


@pytest.mark.parametrize("what", ["frame", "", "session", "__len__"])
def test_nothing_but_frames_and_masks_is_given(server, two, swift_model, what) -> None:
    server(pack("need", session=0, what=what, numbers=[3]))
    with pytest.raises(RemoteError, match="no part of the request"):
        list(propose(two, swift_model, device=DEVICE))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (pack("lost"), "not asked for"),
        (pack("lost", host="x", seconds=1), "not asked for"),
        (pack("done"), "10 of 10 frames did not arrive"),
        (pack("waiting"), "whole number"),
        (pack("waiting", ahead="1"), "whole number"),
        (pack("mask", BLANK, frame=3), "not asked for"),
        (pack("mask", BLANK, frame=0, uncertainty="much"), "cannot make"),
        (pack("mask", BLANK, frame=0, uncertainty=True), "cannot make"),
        (pack("mask", BLANK, frame=0, uncertainty=float("nan")), "cannot make"),
        (pack("mask", b"", frame=0), "Pixels"),
        (pack("event", number=1, line="{}"), "not asked for"),
        (pack("error"), "text"),
        (pack("error", message=[1]), "text"),
        ("text", "not a message"),
        (b"", "not a message"),
        (b"\0\0\0\2[]", "does not say"),
    ],
)
def test_what_a_server_may_not_say_while_it_proposes(server, two, swift_model, message, says) -> None:
    server(message)
    with pytest.raises(RemoteError, match=says):
        list(propose(two, swift_model, device=DEVICE))
    assert two.frames_with("proposed") == [] and two.frames_with("corrected") == [3, 8]


def test_done_too_early_keeps_what_arrived_and_says_how_much_is_missing(server, two, swift_model) -> None:
    server(*(pack("mask", BLANK, frame=t) for t in (0, 1, 2)), pack("done"))
    with pytest.raises(RemoteError, match="7 of 10 frames did not arrive"):
        list(propose(two, swift_model, device=DEVICE))
    assert two.frames_with("proposed") == [0, 1, 2]


STEP = {"kind": "step", "step": 1, "total": 2, "loss": 0.5, "fold": 0, "rounds": 1}
SCORED = {"kind": "scored", "before": 0.1, "after": 0.2, "frames": 2, "per_frame": [[0, 3, 0.1, 0.2]]}


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "1",
        "{}",
        "[" * 9000,
        json.dumps({**STEP, "kind": []}),
        json.dumps({**STEP, "loss": "low"}),
        json.dumps({**STEP, "loss": float("nan")}),
        json.dumps({**STEP, "step": True}),
        json.dumps({**STEP, "step": -1}),
        json.dumps({**STEP, "more": 1}),
        json.dumps({"kind": "step"}),
        json.dumps({**SCORED, "per_frame": [[0, 3]]}),
        json.dumps({**SCORED, "per_frame": [[1, 3, 0.1, 0.2]]}),
        json.dumps({**SCORED, "per_frame": [[0, 12, 0.1, 0.2]]}),
        json.dumps({**SCORED, "per_frame": 7}),
        json.dumps({**SCORED, "before": "x"}),
        json.dumps({"kind": "waiting", "note": "give me your token"}),
        json.dumps({"kind": "finished", "name": "a", "version": "b", "path": "c", "promoted": True,
                    "before": None, "after": None, "seconds": 1.0}),
    ],
)  # fmt: skip
def test_events_of_a_fine_tune_are_checked(server, two, swift_model, line) -> None:
    server(pack("event", number=1, line=line))
    before = list_models()
    with pytest.raises(RemoteError):
        list(finetune([two], swift_model, device=DEVICE))
    assert list_models() == before


def test_weights_that_are_no_finite_numbers_become_no_version(server, two, swift_model, monkeypatch) -> None:
    data = bytearray(weights_of(swift_model))
    data[-4:] = np.float32(np.nan).tobytes()
    server(pack("trained", promoted=True, size=len(data)), pack("weights", bytes(data)), pack("done"))
    before = list_models()
    with pytest.raises(RemoteError, match="damaged"):
        list(finetune([two], swift_model, device=DEVICE))
    assert list_models() == before


def test_a_server_without_memory_is_a_device_error_here_too(server, two, swift_model) -> None:
    server(pack("error", message="The memory of the server is full.", device=True))
    with pytest.raises(DeviceError, match="server is full"):
        list(propose(two, swift_model, device=DEVICE))


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 14) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KINDS = ["need", "model", "mask", "event", "trained", "weights", "waiting", "error", "done", "lost", "x"]
NAMES = ["session", "what", "numbers", "frame", "uncertainty", "windows", "ahead", "message", "again", "number",
         "line", "size", "promoted", "device", "host", "seconds"]  # fmt: skip
messages = st.one_of(
    st.builds(
        lambda kind, values, payload: pack(kind, payload, **values),
        st.sampled_from(KINDS),
        st.dictionaries(
            st.sampled_from(NAMES),
            plain_values | st.sampled_from(["frames", "masks", json.dumps(STEP), json.dumps(SCORED)]),
            max_size=5,
        ),
        st.sampled_from([b"", BLANK, BLANK[:-3], bytes(9)]),
    ),
    st.binary(max_size=40),
    st.text(max_size=9),
)


def drained(events: Iterator[Any]) -> None:
    try:
        for _ in events:
            pass
    except VivimError as error:
        assert str(error)


@pytest.mark.parametrize("examples", [40, pytest.param(400, marks=pytest.mark.robustness)])
def test_whatever_a_server_says_ends_in_a_sentence(server, two, swift_model, examples: int) -> None:
    @settings(max_examples=examples, deadline=None)
    @given(says=st.lists(messages, max_size=4))
    def hears(says: list) -> None:
        server(*says)
        drained(propose(two, swift_model, device=DEVICE, keep=False))
        drained(finetune([two], swift_model, device=DEVICE))
        assert two.frames_with("corrected") == [3, 8] and two.frames_with("proposed") == []

    hears()
