"""What a server does with those who mean no good, or whose program is broken: refuses, and serves the others."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import zlib
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim.remote.config import client_of
from vivim.remote.job_queue import JobQueue
from vivim.remote.limits import Limits
from vivim.remote.protocol import (
    MESSAGE,
    PATH,
    WANTED,
    Message,
    RemoteError,
    digest_of,
    expand,
    pack,
    squeeze,
    unpack,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def dial(port: int, token: str, **headers: str):
    return connect(
        f"ws://127.0.0.1:{port}{PATH}",
        additional_headers={"Authorization": f"Bearer {token}", **headers},
        proxy=None,
        max_size=MESSAGE,
        close_timeout=1,
    )


def request(model, frames: int = 4, **changes) -> bytes:
    one = {"frames": frames, "height": 72, "width": 88, "key": "abc"}
    values = {
        "digest": digest_of(model),
        "sessions": [one],
        "start": 0,
        "clip_length": 4,
        "guided": 0,
        "windows": "every",
        "precision": "auto",
    }
    return pack("propose", squeeze(np.full(frames, WANTED, np.uint8)), **{**values, **changes})


def last_word(connection) -> dict:
    """What the server says before it hangs up, places in line passed over."""
    for data in connection:
        message = unpack(data)
        if message.kind != "waiting":
            return {"kind": message.kind, **message.values}
    return {"kind": "closed"}


@pytest.mark.parametrize("given_token", ["", "wrong", "é", None])
def test_without_the_token_nothing_is_read(port, token, given_token) -> None:
    header = f"Authorization: Bearer {given_token}\r\n".encode() if given_token is not None else b""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(
            f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".encode()
            + header
            + b"\r\n"
        )
        answer = plain.recv(4096)
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400"))
    assert token.encode() not in answer


def test_a_message_beyond_the_limit_is_refused_by_its_declared_length(port, token) -> None:
    with dial(port, token) as connection:
        header = struct.pack(">BBQ", 0x82, 0xFF, 2**40) + b"\0\0\0\0"  # a terabyte, none of it sent
        connection.socket.sendall(header)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(10)
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 10**9},
        {"height": 10**6, "width": 10**6},
        {"height": -1},
        {"width": "88"},
        {"key": "a name that is far too long to be a key"},
    ],
)
def test_a_declared_size_beyond_the_limits_is_refused_before_it_is_made(
    port, token, swift_model, change
) -> None:
    one = {"frames": 4, "height": 72, "width": 88, "key": "abc", **change}
    with dial(port, token) as connection:
        connection.send(request(swift_model, sessions=[one]))
        assert last_word(connection)["kind"] == "error"


def test_pixels_that_unfold_to_more_than_a_frame_are_refused(port, token, swift_model) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert len(bomb) < 50_000
    with pytest.raises(RemoteError, match="exactly"):
        expand(bomb, (64, 64, 3))
    with dial(port, token) as connection:
        connection.send(pack("propose", bomb, **unpack(request(swift_model)).values))
        assert "exactly" in last_word(connection)["message"]


@pytest.mark.parametrize(
    ("size", "pieces", "reason"),
    [
        (2**40, [], "whole number"),
        (100, [bytes(200)], "not as long"),
        (100, [b""], "not as long"),
        (100, [bytes(100)], "damaged"),
        (108, [struct.pack("<Q", 100) + b"{" * 100], "damaged"),
    ],
)
def test_weights_that_are_none_are_refused(port, token, swift_model, size, pieces, reason) -> None:
    with dial(port, token) as connection:
        connection.send(request(swift_model, digest="0" * 64))
        assert last_word(connection)["kind"] == "model"
        connection.send(pack("model", size=size))
        for piece in pieces:
            connection.send(pack("weights", piece))
        assert reason in last_word(connection)["message"]


def test_weights_under_another_name_than_their_own_are_refused(port, token, swift_model) -> None:
    from vivim.remote.protocol import weights_of

    data = weights_of(swift_model)
    with dial(port, token) as connection:
        connection.send(request(swift_model, digest="1" * 64))
        assert last_word(connection)["kind"] == "model"
        connection.send(pack("model", size=len(data)))
        for i in range(0, len(data), 2**22):
            connection.send(pack("weights", data[i : i + 2**22]))
        assert "not those announced" in last_word(connection)["message"]


def test_a_flood_of_requests_is_held_off_and_others_are_served_after(serving, token) -> None:
    with serving(limits=Limits(attempts=20, clients=3)) as port, ExitStack() as stack:
        held = [stack.enter_context(dial(port, token)) for _ in range(3)]
        statuses: list[int] = []

        def flood() -> None:
            for _ in range(10):
                with pytest.raises(InvalidStatus) as refused, dial(port, token):
                    pass
                statuses.append(refused.value.response.status_code)

        threads = [threading.Thread(target=flood) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.count(503) == 17 and statuses.count(429) == 13
        held[0].send(pack("nonsense"))
        assert last_word(held[0])["kind"] == "error"


def answer(port: int, token: str, forwarded: str = "") -> int:
    """Status of the answer to an attempt."""
    try:
        with dial(port, token, **({"X-Forwarded-For": forwarded} if forwarded else {})):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_who_guesses_tokens_is_soon_not_listened_to(serving, token) -> None:
    with serving(limits=Limits(wrong_tokens=3)) as port:
        assert [answer(port, "wrong", f"1.1.1.{i}") for i in range(4)] == [401] * 3 + [429]
        assert answer(port, token) == 429


def test_behind_a_proxy_clients_are_told_apart_by_what_the_proxy_saw(serving, token) -> None:
    with serving(limits=Limits(wrong_tokens=3), proxies=frozenset({"127.0.0.1"})) as port:
        assert [answer(port, "wrong", f"9.9.9.{i}, 1.2.3.4") for i in range(4)] == [401] * 3 + [429]
        assert answer(port, token, "1.2.3.4") == 429
        assert answer(port, token, "5.6.7.8") == 101


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["1.2.3.4"], "10.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["9.9.9.9", "8.8.8.8, 1.2.3.4"], "1.2.3.4"),
        ("127.0.0.1", ["nonsense"], "unknown"),
        ("::ffff:10.0.0.1", [], "10.0.0.1"),
        ("2001:db8:1:2:3::4", [], "2001:db8:1:2::/64"),
    ],
)
def test_what_counts_as_one_client(peer, forwarded, client) -> None:
    assert client_of(peer, forwarded, {"127.0.0.1"}) == client


def test_only_so_many_results_are_kept_for_clients_that_are_away(monkeypatch) -> None:
    monkeypatch.setattr("vivim.remote.job_queue.broadcast", lambda *_: None)

    async def three_are_cut_off() -> list[bool]:
        line = JobQueue(Limits(kept=1), lambda request, link: link.end([pack("done")]))
        jobs = []
        for number in range(3):
            request, lost = Message("finetune", {"job": f"{number}" * 32}), SimpleNamespace(close_code=1006)
            jobs.append(line.join(request, lost))
            await line.leave(jobs[-1], lost)
            await asyncio.wait([jobs[-1].done])
        await asyncio.sleep(0)
        back = [line.join(job.request, SimpleNamespace(close_code=1000)) is job for job in jobs]
        line.close()
        with pytest.raises(RemoteError, match="too short"):
            line.join(Message("finetune", {"job": "1"}), SimpleNamespace())
        return back

    assert asyncio.run(three_are_cut_off()) == [False, False, True]


def test_a_client_that_says_nothing_is_let_go(serving, token, swift_model) -> None:
    with serving(limits=Limits(answer_seconds=0.2)) as port:
        with dial(port, token) as silent:
            assert last_word(silent)["kind"] == "closed"
        with dial(port, token) as holding:
            holding.send(request(swift_model))
            assert last_word(holding)["kind"] == "model"
            assert "No answer" in last_word(holding)["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["digest", "sessions", "start", "clip_length", "guided", "windows", "seed", "scope"])
headers = st.dictionaries(names, json_values, max_size=5).flatmap(
    lambda values: st.sampled_from(["propose", "finetune", "model", "x"]).map(
        lambda kind: json.dumps({"kind": kind, **values}).encode()
    )
)
messages = st.one_of(
    st.binary(max_size=64),
    st.text(max_size=16),
    st.builds(lambda h, p: struct.pack(">I", len(h)) + h + p, headers | st.binary(max_size=32), st.binary()),
)


@given(messages)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_malformed_messages_are_answered_with_an_error(port, token, message) -> None:
    with dial(port, token) as connection:
        connection.send(message)
        word = last_word(connection)
    assert word["kind"] == "error" and "unexpected" not in word["message"]


@given(st.binary(max_size=200))
def test_unpacking_ends_in_a_message_or_an_error_for_people(data) -> None:
    try:
        message = unpack(data)
    except RemoteError:
        return
    assert isinstance(message.kind, str)


@given(st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_squeezing_loses_nothing(height, width, random) -> None:
    pixels = np.frombuffer(random.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
    assert np.array_equal(expand(squeeze(pixels), pixels.shape), pixels)
